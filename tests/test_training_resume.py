"""Interrupted, repeated, mistaken and diverging training runs."""

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
from kolors_course.ranges import Range
from kolors_course.training.limits import LIMITS
from kolors_course.training.lora import train_lora
from kolors_course.training.losses import LossSettings
from kolors_course.training.output import start_afresh
from kolors_course.training.recipe import DataSettings


def test_an_interrupted_run_continues_bit_for_bit(tiny_model, tiny_pictures, tmp_path, quick):
    with pytest.raises(KeyboardInterrupt):
        train_lora(tiny_model, tiny_pictures, tmp_path, QUICK, progress=stop_at(3), command="the command")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.pt", "config.yaml", "log.jsonl"]
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


CHANGES = {
    "--max_epochs x --steps_per_epoch: 4 in the checkpoint, 5 now": {"steps": 5},
    "--learning_rate: 0.01 in the checkpoint, 0.001 now": {"learning_rate": 1e-3},
    "--lora_rank: 4 in the checkpoint, 2 now": {"settings": LoraSettings(rank=2, alpha=8.0)},
    "--lora_alpha: 8.0 in the checkpoint, 4.0 now": {"settings": LoraSettings(rank=4, alpha=4.0)},
    "--min_snr_gamma: 5.0 in the checkpoint, none now": {"loss": LossSettings()},
    "--trigger: '' in the checkpoint, sks now": {"data": DataSettings(trigger="sks")},
    "--width, --height: none in the checkpoint, 48,32 now": {"size": (48, 32)},
    "--lora_dropout: 0.0 in the checkpoint, 0.5 now": {"lora_dropout": 0.5},
    "--loraplus_lr_ratio: none in the checkpoint, 16 now": {"loraplus_ratio": 16},
    "--precision: 32 in the checkpoint, bf16 now": {"precision": "bf16"},
}


@pytest.mark.parametrize("told", CHANGES)
def test_another_recipe_does_not_resume(tiny_model, tiny_pictures, quick, told):
    before = state_of(tiny_model.unet)
    with pytest.raises(CourseError) as caught:
        train_lora(tiny_model, tiny_pictures, quick.path.parent, replace(QUICK, **CHANGES[told]))
    assert told in str(caught.value)
    assert str(caught.value).count("in the checkpoint") == 1
    assert_same_state(state_of(tiny_model.unet), before)


def test_all_that_differs_is_named_at_once(tiny_model, tiny_pictures, quick):
    other = replace(QUICK, seed=7, weight_decay=0.5)
    with pytest.raises(
        CourseError, match=r"--weight_decay: 0.01 .* 0.5 now; --seed: 0 .* 7 now; --model: tiny "
    ):
        train_lora(replace(tiny_model, name="big"), tiny_pictures, quick.path.parent, other)


def test_what_only_watches_may_differ(tiny_model, tiny_pictures, tmp_path, quick):
    shutil.copytree(quick.path.parent, tmp_path, dirs_exist_ok=True)
    watching = {"checkpoint_every": 1, "save_every": 3, "sample_every": 5, "sample_prompts": ("a cat",)}
    again = train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, **watching))
    assert again.losses == quick.losses
    assert (tmp_path / "samples" / "step-000004.png").is_file()


def test_other_pictures_do_not_resume_and_are_named(tiny_model, tiny_pictures, tmp_path):
    data, output = shutil.copytree(tiny_pictures, tmp_path / "data"), tmp_path / "run"
    prior = write_pictures(tmp_path / "prior", 1)
    recipe = replace(QUICK, steps=1)
    train_lora(tiny_model, data, output, recipe)

    def told() -> str:
        with pytest.raises(CourseError) as caught:
            train_lora(tiny_model, data, output, recipe)
        return str(caught.value)

    metadata = data / "train" / "metadata.csv"
    text = metadata.read_text("utf-8-sig")
    metadata.write_text(text.replace("number 2", "number two"), encoding="utf-8")
    assert "--dataset_path: caption changed: 002.png." in told()
    Image.new("RGB", (SIDE, SIDE)).save(data / "train" / "001.png")
    assert "--dataset_path: picture changed: 001.png; caption changed: 002.png." in told()
    head, first, *rest = text.splitlines()
    metadata.write_text("\n".join([head, *rest[:1]]), encoding="utf-8")
    assert "gone: 000.png, 002.png, 003.png" in told()
    shutil.copytree(tiny_pictures, data, dirs_exist_ok=True)
    metadata.write_text("\n".join([head, rest[0], first, *rest[1:]]), encoding="utf-8")
    assert "--dataset_path: the same pictures in another order" in told()
    shutil.copytree(tiny_pictures, data, dirs_exist_ok=True)
    with pytest.raises(CourseError, match=r"--prior_path: new: 000.png"):
        train_lora(tiny_model, data, output, recipe, prior_path=prior)


def test_a_base_model_trained_further_does_not_resume(tiny_model, tiny_pictures, quick):
    further = replace(tiny_model, unet=deepcopy(tiny_model.unet))
    with torch.no_grad():
        further.unet.conv_in.weight.mul_(1.1)
    with pytest.raises(CourseError, match=r"--model: the same name .* but other weights"):
        train_lora(further, tiny_pictures, quick.path.parent, QUICK)


def test_other_masks_do_not_resume(tiny_model, tmp_path):
    pictures, output = write_pictures(tmp_path / "pictures"), tmp_path / "run"
    recipe = replace(QUICK, steps=1, data=DataSettings(masks=True))
    picture = sorted((pictures / "train").glob("*.png"))[0]
    mask = picture.with_name(f"{picture.stem}-masklabel.png")
    Image.new("L", (SIDE, SIDE), 128).save(mask)
    train_lora(tiny_model, pictures, output, recipe)
    Image.new("L", (SIDE, SIDE), 100).save(mask)
    with pytest.raises(CourseError, match=r"--dataset_path: mask changed: 000.png"):
        train_lora(tiny_model, pictures, output, recipe)


def test_auto_precision_is_decided_once_for_a_run(tiny_model, tiny_pictures, tmp_path, monkeypatch, quick):
    recipe = replace(QUICK, precision="auto")
    decide = {"dtype": None}
    monkeypatch.setattr("kolors_course.training.recipe.autocast_dtype", lambda device: decide["dtype"])
    with pytest.raises(KeyboardInterrupt):
        train_lora(tiny_model, tiny_pictures, tmp_path, recipe, progress=stop_at(3))
    decide["dtype"] = torch.bfloat16  # another measurement, on a busy machine
    assert train_lora(tiny_model, tiny_pictures, tmp_path, recipe).losses == quick.losses
    same = replace(QUICK, precision="32")
    assert train_lora(tiny_model, tiny_pictures, tmp_path, same).losses == quick.losses
    with pytest.raises(CourseError, match="--precision: 32 in the checkpoint, bf16 now"):
        train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, precision="bf16"))


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


def test_a_run_that_diverges_stops_and_its_checkpoint_is_from_before(
    tiny_model, tiny_pictures, tmp_path, monkeypatch
):
    monkeypatch.setitem(LIMITS, "learning_rate", Range(0, 1e31))
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
