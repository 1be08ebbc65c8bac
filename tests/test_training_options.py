"""Buckets, masks, prior pictures, trigger words: what they do to a training run."""

import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny import QUICK, write_pictures

from kolors_course.dataset import read_dataset, write_dataset
from kolors_course.errors import CourseError
from kolors_course.kolors import encode_prompts
from kolors_course.lora import LoraSettings
from kolors_course.training.cache import build_cache
from kolors_course.training.data import encode_training_data
from kolors_course.training.lora import train_lora
from kolors_course.training.losses import LossSettings
from kolors_course.training.recipe import DataSettings


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Pictures of three shapes."""
    sizes = ((192, 96), (96, 192), (128, 128), (200, 100))
    items = [
        (Image.new("RGB", size, colour), f"a {colour} cat")
        for size, colour in zip(sizes, ("red", "blue", "green", "pink"), strict=True)
    ]
    return write_dataset(tmp_path_factory.mktemp("shapes") / "data", items)


def test_buckets_keep_the_shapes_and_tell_the_true_sizes(tiny_model, shapes, tmp_path):
    recipe = replace(QUICK, data=DataSettings(buckets=True), size=(128, 128), steps=6)
    data = encode_training_data(tiny_model, read_dataset(shapes), None, recipe)
    latents = [tuple(cache.latents.shape[-2:]) for cache in data.train.pictures]
    assert len(set(latents)) == len(latents) == 3
    assert len(data.train) == 4
    originals = {
        tuple(ids[:2]) for cache in data.train.pictures for ids in cache.add_time_ids[0].int().tolist()
    }
    assert originals == {(96, 192), (192, 96), (128, 128), (100, 200)}
    for cache, (height, width) in zip(data.train.pictures, latents, strict=True):
        assert (cache.add_time_ids[0, :, 4:] == torch.tensor([4.0 * height, 4.0 * width])).all()
    result = train_lora(tiny_model, shapes, tmp_path, recipe)
    assert result.steps == 6


def masked_data(folder, colour_of_the_rest: int):
    """One picture whose left half is to be learned."""
    picture = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
    picture.paste((colour_of_the_rest,) * 3, (16, 0, 32, 32))
    data = write_dataset(folder, [(picture, "a cat")])
    mask = Image.new("L", (32, 32), 0)
    mask.paste(255, (0, 0, 16, 32))
    path = read_dataset(data).samples[0].path
    mask.save(path.with_name(path.stem + "-masklabel.png"))
    return data


def test_masks_follow_flips_and_weight_the_latents(tiny_model, tmp_path):
    dataset = read_dataset(masked_data(tmp_path / "data", 0))
    cache = build_cache(tiny_model, dataset, (32, 32), False, True, torch.Generator(), masks=True)
    assert cache.masks.shape == (2, 1, 1, 8, 8)
    left = torch.zeros(1, 8, 8)
    left[..., :4] = 1
    assert torch.equal(cache.masks[0, 0], left)
    assert torch.equal(cache.masks[1, 0], left.flip(-1))


def test_a_faulty_mask_is_named(tiny_model, tmp_path):
    dataset = read_dataset(masked_data(tmp_path / "data", 0))
    mask = dataset.samples[0].path.with_name(dataset.samples[0].path.stem + "-masklabel.png")
    for image, fault in (
        (Image.new("L", (16, 16), 255), "same size"),
        (Image.new("L", (32, 32)), "all black"),
    ):
        image.save(mask)
        with pytest.raises(CourseError, match=fault):
            build_cache(tiny_model, dataset, (32, 32), True, False, torch.Generator(), masks=True)


def test_pictures_without_a_mask_are_learned_as_a_whole(tiny_model, tiny_pictures, tmp_path, quick):
    data = shutil.copytree(tiny_pictures, tmp_path / "data")
    Image.new("L", (32, 32), 255).save(data / "train" / "001-masklabel.png")  # all of it, so the same loss
    result = train_lora(tiny_model, data, tmp_path / "run", replace(QUICK, data=DataSettings(masks=True)))
    assert [loss for _, loss in result.losses] == pytest.approx([loss for _, loss in quick.losses], rel=1e-3)


def test_masks_that_are_nowhere_are_told(tiny_model, tiny_pictures, tmp_path):
    with pytest.raises(CourseError, match="cat-masklabel.png"):
        train_lora(tiny_model, tiny_pictures, tmp_path / "run", replace(QUICK, data=DataSettings(masks=True)))
    assert not (tmp_path / "run").exists()


def test_trigger_words_come_before_every_caption(tiny_model, tiny_pictures):
    dataset = read_dataset(tiny_pictures)
    cache = build_cache(tiny_model, dataset, (32, 32), True, False, torch.Generator(), trigger="sks style")
    texts = [f"sks style, {dataset.samples[0].text}", ""]
    for row, text in zip((0, len(dataset)), texts, strict=True):
        with torch.no_grad():
            expected = encode_prompts(tiny_model.tokenizer, tiny_model.text_encoder, [text])
        torch.testing.assert_close(
            cache.prompts.pooled_prompt_embeds[row], expected.pooled_prompt_embeds[0], atol=1e-5, rtol=1e-4
        )


def test_prior_pictures_add_their_weighted_loss(tiny_model, tiny_pictures, tmp_path, quick):
    """At the first step the LoRA is still zero, so the losses are those of the base model."""
    prior = write_pictures(tmp_path / "prior", 3, 48)
    first = {}
    for weight in (0.5, 1.0):
        recipe = replace(QUICK, steps=1, data=DataSettings(prior_weight=weight))
        run = train_lora(tiny_model, tiny_pictures, tmp_path / f"run-{weight}", recipe, prior_path=prior)
        first[weight] = run.losses[0][1]
    base = quick.losses[0][1]
    assert first[1.0] - base == pytest.approx(2 * (first[0.5] - base), rel=1e-3)
    assert first[0.5] > base
    with pytest.raises(CourseError, match="--prior_path: gone: 000.png"):
        train_lora(tiny_model, tiny_pictures, tmp_path / f"run-{weight}", recipe)


def test_every_loss_trains(tiny_model, tiny_pictures, tmp_path):
    for i, loss in enumerate(
        (
            LossSettings("huber"),
            LossSettings(debiased=True),
            LossSettings(noise_offset=0.1, min_snr_gamma=5.0),
        )
    ):
        recipe = replace(QUICK, steps=1, loss=loss, data=DataSettings(sample_posterior=True))
        assert train_lora(tiny_model, tiny_pictures, tmp_path / str(i), recipe).losses[0][1] > 0


def test_training_goes_on_from_another_lora(tiny_model, tiny_pictures, tmp_path, quick):
    recipe = replace(QUICK, steps=1, learning_rate=1e-9)
    result = train_lora(tiny_model, tiny_pictures, tmp_path / "run", recipe, pretrained_lora=quick.path)
    before, after = load_file(quick.path), load_file(result.path)
    assert all(torch.allclose(tensor, after[name], atol=1e-6) for name, tensor in before.items())
    for settings, fault in ((LoraSettings(4, 4.0), "alpha"), (LoraSettings(2, 8.0), "rank")):
        other = replace(recipe, settings=settings)
        with pytest.raises(CourseError, match=fault):
            train_lora(tiny_model, tiny_pictures, tmp_path / "other", other, pretrained_lora=quick.path)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("weight", [0.0, float("nan")])
def test_a_prior_weight_out_of_range_is_refused(weight):
    with pytest.raises(CourseError, match="prior_weight"):
        DataSettings(prior_weight=weight)
