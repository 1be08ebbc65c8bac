"""Finished cells are kept: what makes a cell another one, and what is drawn after an interruption."""

import shutil
from dataclasses import replace

import pytest
import torch
from command_line import tree
from PIL import Image
from tiny import assert_same_state, state_of

from kolors_course.evaluation import Probe, held_out_prompts
from kolors_course.kolors import Sampling
from kolors_course.kolors.calls import counted_calls
from kolors_course.sweep import (
    CellStore,
    Fixed,
    Wanted,
    check_loras,
    draw_cells,
    keys_of,
    parse_axis,
    pictures_of,
    plan_sweep,
)

FIXED = Fixed((Wanted("a cat", 0, None),), Sampling(steps=2, guidance_scale=1.0))


@pytest.fixture(scope="module")
def probe() -> Probe:
    torch.manual_seed(0)
    return Probe().eval()


@pytest.fixture
def lora(tmp_path, lora_file):
    return shutil.copy(lora_file, tmp_path / "own.safetensors")


def plan(*texts, fixed=FIXED):
    return plan_sweep([parse_axis(text) for text in texts], fixed)


def draw(model, probe, sweep, folder, progress=None):
    """The kept cells, and the network calls made now."""
    with counted_calls(model.unet) as counted:
        kept = draw_cells(model, probe, sweep, keys_of(model, probe, sweep), CellStore(folder), progress)
    return kept, counted.calls


def test_a_second_run_draws_nothing_and_gives_the_same(tiny_model, probe, tmp_path):
    sweep = plan("steps=1,2", "guidance=1,2")
    first, calls = draw(tiny_model, probe, sweep, tmp_path)
    assert calls == 1 + 2 + 2 + 4
    assert len(tree(tmp_path)) == 8
    again, calls = draw(tiny_model, probe, sweep, tmp_path)
    assert calls == 0
    assert [kept.measured for kept in again] == [kept.measured for kept in first]
    assert [kept.shown.tobytes() for kept in again] == [kept.shown.tobytes() for kept in first]
    _, calls = draw(tiny_model, probe, plan("guidance=2,3"), tmp_path)
    assert calls == 4  # the cell that both sweeps have is shared


def test_after_an_interrupt_only_the_rest_is_drawn(tiny_model, probe, tmp_path):
    def stop(calls):
        stop.done += calls
        if stop.done > 3:
            raise KeyboardInterrupt

    stop.done, before = 0, state_of(tiny_model.unet)
    sweep = plan("steps=1,2,3")
    with pytest.raises(KeyboardInterrupt):
        draw(tiny_model, probe, sweep, tmp_path, stop)
    assert len(tree(tmp_path)) == 4
    assert_same_state(before, state_of(tiny_model.unet))
    _, calls = draw(tiny_model, probe, sweep, tmp_path)
    assert calls == 3


def test_a_damaged_cell_is_drawn_again(tiny_model, probe, tmp_path):
    sweep = plan("steps=1,2,3")
    draw(tiny_model, probe, sweep, tmp_path)
    keys = keys_of(tiny_model, probe, sweep)
    (tmp_path / f"{keys[0]}.json").write_text("{", encoding="utf-8")
    (tmp_path / f"{keys[1]}.png").write_bytes(b"nothing")
    (tmp_path / f"{keys[2]}.json").write_text("{}", encoding="utf-8")
    assert draw(tiny_model, probe, sweep, tmp_path)[1] == 6
    assert draw(tiny_model, probe, sweep, tmp_path)[1] == 0


def test_a_changed_lora_file_is_drawn_again_and_the_base_model_is_not(tiny_model, probe, lora, tmp_path):
    sweep, before = plan(f"lora=none,{lora}"), state_of(tiny_model.unet)
    check_loras(tiny_model, sweep)
    (base, styled), calls = draw(tiny_model, probe, sweep, tmp_path / "cells")
    assert calls == 4
    assert base.shown.tobytes() != styled.shown.tobytes()
    assert_same_state(before, state_of(tiny_model.unet))
    shutil.copy(lora, tmp_path / "moved.safetensors")
    assert draw(tiny_model, probe, plan(f"lora={tmp_path}/moved.safetensors"), tmp_path / "cells")[1] == 0
    data = lora.read_bytes()
    lora.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert draw(tiny_model, probe, sweep, tmp_path / "cells")[1] == 2


def test_keys_hold_all_that_decides(tiny_model, probe, lora):
    cell = {
        "the same": FIXED,
        "prompt": replace(FIXED, wanted=(Wanted("a dog", 0, None),)),
        "seed": replace(FIXED, wanted=(Wanted("a cat", 1, None),)),
        "negative": replace(FIXED, sampling=replace(FIXED.sampling, negative_prompt="red")),
        "size": replace(FIXED, sampling=replace(FIXED.sampling, size=(48, 32))),
        "style": replace(FIXED, style="ink"),
        "image": replace(FIXED, image=Image.new("RGB", (32, 32))),
        "lora": replace(FIXED, loras=((lora, 1.0),)),
        "strength": replace(FIXED, loras=((lora, 0.5),)),
        "variety": replace(FIXED, varied=1),
    }
    keys = {name: keys_of(tiny_model, probe, plan("steps=2", fixed=fixed))[0] for name, fixed in cell.items()}
    assert len(set(keys.values())) == len(cell)
    at_once = replace(FIXED, sampling=replace(FIXED.sampling, batch_size=3))
    assert keys_of(tiny_model, probe, plan("steps=2", fixed=at_once)) == [keys["the same"]]
    torch.manual_seed(1)
    assert keys_of(tiny_model, Probe().eval(), plan("steps=2")) != [keys["the same"]]
    with torch.no_grad():
        tiny_model.unet.conv_in.weight.add_(0.1)
        changed = keys_of(tiny_model, probe, plan("steps=2"))
        tiny_model.unet.conv_in.weight.sub_(0.1)
    assert changed != [keys["the same"]]


def test_held_out_prompts_are_measured(tiny_model, probe, tmp_path):
    wanted = tuple(Wanted(each.prompt, each.seed, each.scene) for each in held_out_prompts(4))
    fixed = Fixed(wanted, FIXED.sampling, varied=2)
    calls = []
    (kept,), made = draw(tiny_model, probe, plan("steps=2", fixed=fixed), tmp_path, calls.append)
    assert pictures_of(fixed) == 8 + 2 * 3
    assert made == sum(calls) == 2 * pictures_of(fixed)
    measured = kept.measured
    assert (measured.pictures, measured.calls, len(measured.fidelity)) == (8, 2, 8)
    assert measured.asked["subject"] == measured.asked["style"] == 8
    assert all(0 <= measured.right[question] <= count for question, count in measured.asked.items())
    assert measured.variety > 0
    assert kept.shown.size == (64, 64)  # four of the pictures


def test_pictures_that_are_not_square_have_no_shape_fidelity(tiny_model, probe, tmp_path):
    wanted = tuple(Wanted(each.prompt, each.seed, each.scene) for each in held_out_prompts(1))
    fixed = Fixed(wanted, replace(FIXED.sampling, size=(48, 32)))
    (kept,), _ = draw(tiny_model, probe, plan("steps=1", fixed=fixed), tmp_path)
    assert kept.measured.fidelity == ()
    assert kept.measured.asked["subject"] == 2
