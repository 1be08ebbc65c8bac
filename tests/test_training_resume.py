"""Interrupted, repeated, mistaken and diverging trainings."""

import json
import shutil
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny import QUICK, SIDE, assert_same_state, state_of, stop_at, write_pictures

from kolors_course.errors import CourseError
from kolors_course.lora import LoraSettings, read_lora
from kolors_course.training.lora import train_lora
from kolors_course.training.output import start_afresh
from kolors_course.training.recipe import DataSettings


def test_an_interrupted_run_continues_bit_for_bit(tiny_model, tiny_pictures, tmp_path, quick):
    with pytest.raises(KeyboardInterrupt):
        train_lora(tiny_model, tiny_pictures, tmp_path, QUICK, progress=stop_at(3), command="the command")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    seen = []
    result = train_lora(
        tiny_model,
        tiny_pictures,
        tmp_path,
        QUICK,
        progress=lambda s, _: seen.append(s),
        command="the command",
    )
    assert seen == [3, 4]  # from the checkpoint of step 2
    assert result.losses == quick.losses
    ours, theirs = read_lora(result.path), read_lora(quick.path)
    assert ours.metadata == theirs.metadata
    assert ours.state_dict.keys() == theirs.state_dict.keys()
    assert all(torch.equal(tensor, theirs.state_dict[name]) for name, tensor in ours.state_dict.items())
    logged = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == [1, 2, 3, 4]


def test_a_finished_run_is_not_repeated(tiny_model, tiny_pictures, quick):
    before = load_file(quick.path)
    again = train_lora(
        tiny_model, tiny_pictures, quick.path.parent, QUICK, progress=stop_at(1), command="the command"
    )
    assert again.losses == quick.losses
    after = load_file(quick.path)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize(
    "change", [{"steps": 5}, {"learning_rate": 1e-3}, {"settings": LoraSettings(rank=2)}]
)
def test_another_recipe_does_not_resume(tiny_model, tiny_pictures, quick, change):
    before = state_of(tiny_model.unet)
    with pytest.raises(CourseError, match=next(iter(change))):
        train_lora(tiny_model, tiny_pictures, quick.path.parent, replace(QUICK, **change))
    assert_same_state(state_of(tiny_model.unet), before)


def test_other_pictures_or_another_model_do_not_resume(tiny_model, tiny_pictures, tmp_path, quick):
    other = shutil.copytree(tiny_pictures, tmp_path / "other")
    metadata = other / "train" / "metadata.csv"
    metadata.write_text(metadata.read_text("utf-8-sig").replace("cat", "dog"), encoding="utf-8")
    with pytest.raises(CourseError, match="another data set"):
        train_lora(tiny_model, other, quick.path.parent, QUICK)
    with pytest.raises(CourseError, match="another base model;"):
        train_lora(replace(tiny_model, name="big"), tiny_pictures, quick.path.parent, QUICK)


def test_a_base_model_trained_further_does_not_resume(tiny_model, tiny_pictures, quick):
    further = replace(tiny_model, unet=deepcopy(tiny_model.unet))
    with torch.no_grad():
        further.unet.conv_in.weight.mul_(1.1)
    with pytest.raises(CourseError, match="same name but other weights"):
        train_lora(further, tiny_pictures, quick.path.parent, QUICK)


def test_other_masks_or_another_order_do_not_resume(tiny_model, tmp_path):
    pictures, output = write_pictures(tmp_path / "pictures"), tmp_path / "run"
    recipe = replace(QUICK, steps=1, data=DataSettings(masks=True))
    train_lora(tiny_model, pictures, output, recipe)
    picture = next((pictures / "train").glob("*.png"))
    mask = picture.with_name(f"{picture.stem}-masklabel.png")
    Image.new("L", (SIDE, SIDE), 128).save(mask)
    with pytest.raises(CourseError, match="another set of masks"):
        train_lora(tiny_model, pictures, output, recipe)
    mask.unlink()
    metadata = pictures / "train" / "metadata.csv"
    head, first, second, *rest = metadata.read_text("utf-8-sig").splitlines()
    metadata.write_text("\n".join([head, second, first, *rest]), encoding="utf-8")
    with pytest.raises(CourseError, match="another order of the pictures"):
        train_lora(tiny_model, pictures, output, recipe)


def test_overwrite_starts_anew_and_removes_only_its_own_files(tiny_model, tiny_pictures, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    recipe = replace(QUICK, steps=1)
    train_lora(tiny_model, tiny_pictures, tmp_path, recipe)
    result = train_lora(tiny_model, tiny_pictures, tmp_path, replace(recipe, seed=1), overwrite=True)
    assert read_lora(result.path).metadata["recipe"]["seed"] == 1
    start_afresh(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_without_a_training_is_left_as_it_is(tmp_path):
    files = [tmp_path / name for name in ("samples/step-1.png", "tensorboard/other", "log.csv")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    start_afresh(tmp_path)
    assert all(file.is_file() for file in files)
    (tmp_path / "log.jsonl").touch()
    start_afresh(tmp_path)
    assert [file.is_file() for file in files] == [False, True, False]


def test_a_mistake_does_not_cost_the_earlier_run(tiny_model, tiny_pictures, tmp_path):
    train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, steps=1))
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    mistakes = [
        (tiny_pictures / "nothing", QUICK),
        (tiny_pictures, replace(QUICK, size=(40, 40))),
        (tiny_pictures, replace(QUICK, settings=LoraSettings(target_modules=("to_z",)))),
    ]
    for dataset, recipe in mistakes:
        with pytest.raises(CourseError):
            train_lora(tiny_model, dataset, tmp_path, recipe, overwrite=True)
        with pytest.raises(CourseError):
            train_lora(tiny_model, dataset, tmp_path / "new", recipe)
    other = replace(QUICK, settings=replace(QUICK.settings, target_modules=("to_q",)))
    with pytest.raises(
        CourseError, match="not the same; use the target modules it was made with: to_q, to_k"
    ):
        train_lora(
            tiny_model,
            tiny_pictures,
            tmp_path,
            other,
            pretrained_lora=tmp_path / "lora.safetensors",
            overwrite=True,
        )
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files


def test_a_run_that_diverges_stops_and_its_checkpoint_is_from_before(tiny_model, tiny_pictures, tmp_path):
    recipe = replace(QUICK, steps=6, warmup=0, checkpoint_every=1, learning_rate=1e30)
    with pytest.raises(CourseError, match=r"not finite|became nan|became inf") as caught:
        train_lora(tiny_model, tiny_pictures, tmp_path, recipe)
    assert "\n" not in str(caught.value)
    assert "learning rate" in str(caught.value)
    checkpoint = tmp_path / "checkpoint.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        assert all(tensor.isfinite().all() for tensor in state["lora"].values())
    assert not (tmp_path / "lora.safetensors").exists()


def test_weights_that_are_not_finite_are_never_saved(tiny_model, tiny_pictures, tmp_path):
    """A finite loss can have an infinite gradient; then the weights break one step before the loss."""

    def spoil(step, loss):
        if step == 3:
            next(p for p in tiny_model.unet.parameters() if p.requires_grad).data.fill_(float("nan"))

    with pytest.raises(CourseError, match="not finite at step 3"):
        train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, checkpoint_every=1), progress=spoil)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["lora"].values())
    resumed = train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, checkpoint_every=1))
    assert resumed.steps == 4
