"""LoRAs kept along the way, and what was due at the step of a kill."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import QUICK, stop_at

from kolors_course.lora import read_lora
from kolors_course.lora.adapter import named_lora_parameters
from kolors_course.training import trainer
from kolors_course.training.lora import train_lora
from kolors_course.training.output import start_afresh

RECIPE = replace(QUICK, save_every=2, sample_every=2, sample_prompts=("a cat",))


def same(one, two) -> bool:
    one, two = load_file(one), load_file(two)
    return one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.fixture(scope="module")
def whole(tiny_folder, tiny_pictures, tmp_path_factory):
    from kolors_course.kolors import load_model

    recipe = replace(RECIPE, save_every=1)
    return train_lora(load_model(tiny_folder), tiny_pictures, tmp_path_factory.mktemp("whole"), recipe)


def test_every_kept_lora_is_that_of_its_step(whole, tiny_model, tiny_pictures, tmp_path, quick):
    assert [path.name for path in whole.kept] == [f"lora-step-00000{i}.safetensors" for i in (1, 2, 3)]
    assert [read_lora(path).metadata["steps"] for path in whole.kept] == [1, 2, 3]
    assert same(whole.path, quick.path)  # keeping changes nothing
    seen = {}

    def look(step, loss):
        names = named_lora_parameters(tiny_model.unet)
        seen[step] = {name: tensor.detach().clone() for name, tensor in names.items()}

    train_lora(tiny_model, tiny_pictures, tmp_path, QUICK, progress=look)
    for step, path in enumerate(whole.kept, 1):
        assert all(
            torch.equal(tensor, seen[step][name]) for name, tensor in read_lora(path).state_dict.items()
        )


class Killed(Exception):
    pass


@pytest.mark.parametrize("moment", ["before the kept LoRA", "before the sample"])
def test_what_was_due_at_the_step_of_a_kill_comes_after_the_resume(
    moment, whole, tiny_model, tiny_pictures, tmp_path, monkeypatch
):
    def die(*arguments, **options):
        if (tmp_path / "checkpoint.pt").is_file():  # of step 2
            raise Killed

    with monkeypatch.context() as patch:
        if moment == "before the sample":
            patch.setattr("kolors_course.training.loop.TrainingLoop._sample", die)
        else:
            patch.setattr("kolors_course.training.result.LoraWriter.keep", die)
        with pytest.raises(Killed):
            train_lora(tiny_model, tiny_pictures, tmp_path, RECIPE)
    sample, kept = tmp_path / "samples" / "step-000002.png", tmp_path / "lora-step-000002.safetensors"
    assert not sample.exists()
    assert kept.exists() == (moment == "before the sample")
    result = train_lora(tiny_model, tiny_pictures, tmp_path, RECIPE)
    reference = whole.path.parent
    assert sample.read_bytes() == (reference / "samples" / "step-000002.png").read_bytes()
    assert same(kept, reference / kept.name)
    assert same(result.path, whole.path)


def test_a_finished_run_draws_nothing_again(tiny_model, tiny_pictures, whole, monkeypatch):
    monkeypatch.setattr(trainer.LoraTrainer, "sample", None)
    again = train_lora(tiny_model, tiny_pictures, whole.path.parent, replace(RECIPE, save_every=1))
    assert again.kept == whole.kept


def test_starting_afresh_removes_them(tiny_model, tiny_pictures, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_lora(tiny_model, tiny_pictures, tmp_path, RECIPE, progress=stop_at(3))
    assert (tmp_path / "lora-step-000002.safetensors").is_file()
    start_afresh(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]
