"""Phased loading: one network in memory at a time, and the same LoRA to the last bit."""

import shutil
from dataclasses import replace

import pytest
import torch
from tiny import QUICK

from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate, load_model
from kolors_course.kolors.parts import PARTS, PartLoader, is_meta
from kolors_course.lora import read_lora
from kolors_course.training.lora import RunOptions, train_lora


def same_lora(one, two) -> bool:
    one, two = read_lora(one.path), read_lora(two.path)
    states = (one.state_dict | one.text_encoder, two.state_dict | two.text_encoder)
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.fixture
def phased(tiny_folder, monkeypatch):
    """A model of which nothing is loaded, and what was in memory whenever something was loaded."""
    model = load_model(tiny_folder, phased=True)
    seen, load = [], PartLoader.load

    def watched(loader, part):
        present = [name for name in PARTS if not is_meta(getattr(model, name))]
        seen.append((part, present, model.vae.device.type))
        return load(loader, part)

    monkeypatch.setattr(PartLoader, "load", watched)
    return model, seen


def test_one_network_at_a_time_and_the_same_lora(phased, tiny_pictures, tmp_path, quick):
    model, seen = phased
    result = train_lora(model, tiny_pictures, tmp_path, QUICK, options=RunOptions(free_encoders=True))
    assert seen == [("text_encoder", [], "meta"), ("vae", [], "meta"), ("unet", ["vae"], "cpu")]
    assert same_lora(result, quick)
    assert is_meta(model.text_encoder)


@pytest.mark.parametrize(
    "changes",
    [
        {"random_flip": True, "validation": {"share": 0.25, "every": 2}},
        {"center_crop": False, "data": {"buckets": True}, "sample_prompts": ("a cat",)},
        {"text_encoder_lora": True},
    ],
)
def test_every_kind_of_data_is_the_same_in_phases(phased, tiny_model, tiny_pictures, tmp_path, changes):
    nested = {
        name: replace(getattr(QUICK, name), **value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    recipe = replace(QUICK, steps=2, **nested)
    whole = train_lora(tiny_model, tiny_pictures, tmp_path / "whole", recipe)
    options = RunOptions(free_encoders=True, cache_folder=None)
    assert same_lora(
        train_lora(phased[0], tiny_pictures, tmp_path / "phased", recipe, options=options), whole
    )


def test_a_prior_set_too(phased, tiny_model, tiny_pictures, tmp_path):
    recipe = replace(QUICK, steps=2)
    paths = {"prior_path": tiny_pictures, "options": RunOptions(free_encoders=True)}
    whole = train_lora(tiny_model, tiny_pictures, tmp_path / "whole", recipe, prior_path=tiny_pictures)
    assert same_lora(train_lora(phased[0], tiny_pictures, tmp_path / "phased", recipe, **paths), whole)


def test_skeletons_know_all_that_is_asked_of_a_model(phased, tiny_model):
    model, seen = phased
    for name in ("device", "vae_scale_factor", "default_size", "size_multiple", "quantization"):
        assert getattr(model, name) == getattr(tiny_model, name)
    for part in PARTS:
        shapes = {name: (t.shape, t.dtype) for name, t in getattr(model, part).state_dict().items()}
        expected = {name: (t.shape, t.dtype) for name, t in getattr(tiny_model, part).state_dict().items()}
        assert shapes == expected
    assert seen == []


def test_fetched_parts_draw_the_same_picture_and_can_come_again(phased, tiny_model):
    model, seen = phased
    for part in PARTS:
        model.fetch(part)
        model.fetch(part)  # is there already
    draw = [generate(m, ["a cat"], [1], Sampling(2))[0].tobytes() for m in (model, tiny_model)]
    assert draw[0] == draw[1]
    model.free("text_encoder")
    with pytest.raises(CourseError, match="text encoder was freed"):
        generate(model, ["a cat"], [1], Sampling(1))
    model.fetch("text_encoder")
    assert generate(model, ["a cat"], [1], Sampling(2))[0].tobytes() == draw[0]
    assert [part for part, *_ in seen] == [*PARTS, "text_encoder"]


def test_a_model_loaded_whole_cannot_fetch_what_it_freed(tiny_folder):
    model = load_model(tiny_folder)
    model.free("vae")
    with pytest.raises(CourseError, match="the vae was freed to save memory; load the model again"):
        model.fetch("vae")


@pytest.mark.parametrize("damage", ["config.json", "weights"])
def test_what_is_missing_is_found_before_anything_is_computed(tiny_folder, tmp_path, damage):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    for file in (folder / "unet").iterdir():
        if (file.name == "config.json") == (damage == "config.json"):
            file.unlink()
    with pytest.raises(CourseError, match=r"no config\.json|no weights"):
        load_model(folder, phased=True)


def test_types_of_their_own(tiny_folder):
    model = load_model(tiny_folder, dtype=torch.float16, vae_dtype=torch.float32, phased=True)
    for part in PARTS:
        before = getattr(model, part).dtype
        model.fetch(part)
        assert getattr(model, part).dtype == before == (torch.float32 if part == "vae" else torch.float16)
