"""The script for a GPU, at a tiny width: its parts measure, and one that fails does not cost the others."""

import argparse

import full_width_gpu as bench
import pytest
import torch

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return bench.build_model(True, CPU, seed=0)


def test_prompts_are_the_same_in_256_rows_and_compacted(model):
    full, short = (bench.prompts_of(model, 1, 30, compacted) for compacted in (False, True))
    assert (full.prompt_embeds.shape[1], short.prompt_embeds.shape[1]) == (256, 31)
    assert torch.equal(full.prompt_embeds[:, -31:], short.prompt_embeds)
    assert torch.equal(full.prompt_embeds[:, 0], full.prompt_embeds[:, 225])
    assert short.text_bias.flatten().tolist() == [pytest.approx(5.42, abs=0.01)] + [0.0] * 30


def test_training_is_measured_and_leaves_the_model_as_it_was(model):
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    found = bench.measure_training(model, 0.0, compacted=True, checkpointing=False)
    assert found["steps per second"] > 0
    assert found["TFLOP per step"] > 0
    assert not any(name.startswith("peak") for name in found)  # a CPU has no such counter
    after = model.unet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_every_way_to_take_a_step_learns_the_same(model, monkeypatch):
    """Compiling itself is left out: it needs a compiler and minutes."""
    monkeypatch.setattr(torch, "compile", lambda module: torch.nn.Sequential(module)[0])
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    found = {way: bench.measure_way(model, 0.0, way) for way in ("eager", "recorded", "compiled")}
    losses = [each["losses"] for each in found.values()]
    assert len(set(losses[0])) == bench.COMPARED
    assert losses[0] == losses[1] == losses[2]
    after = model.unet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_ways_are_compared_in_one_run():
    names = list(bench.parts(argparse.Namespace(compare=True, steps=25), 0.0))
    assert [name.split(", ")[-1] for name in names] == ["eager", "recorded", "ours", "compiled", "compiled"]


@pytest.mark.parametrize("stock", [False, True])
def test_both_samplers_draw(model, stock):
    assert bench.measure_sampling(model, 0.0, steps=1, stock=stock)["seconds per picture"] > 0


def test_a_failing_part_is_written_down_and_the_others_go_on(monkeypatch):
    def fail(model):
        raise RuntimeError("CUDA out of memory\nand many more lines")

    parts = {"one": lambda model: {"a": 1}, "two": fail, "three": lambda model: {"a": 3}}
    monkeypatch.setattr(bench, "parts", lambda arguments, seconds: parts)
    written = []
    arguments = argparse.Namespace(tiny=True, seconds=60, seconds_per_part=0, seed=0, steps=1)
    bench.run_parts(arguments, CPU, lambda results: written.append(dict(results)))
    assert [list(results) for results in written] == [["one"], ["one", "two"], ["one", "two", "three"]]
    assert written[-1]["two"]["error"] == "RuntimeError: CUDA out of memory"
    assert (written[-1]["one"]["a"], written[-1]["three"]["a"]) == (1, 3)
    arguments.seconds = 0
    bench.run_parts(arguments, CPU, lambda results: written.append(dict(results)))
    assert all("skipped" in part for part in written[-1].values())
