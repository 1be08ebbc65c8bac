"""What is computed once before LoRA training: latents, captions and micro-conditions."""

import pytest
import torch
from PIL import Image

from kolors_course.dataset import open_picture, prepare_image, read_dataset, write_dataset
from kolors_course.errors import CourseError
from kolors_course.kolors import encode_prompts
from kolors_course.training.cache import build_cache


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def oblong(tmp_path_factory):
    """Three oblong pictures: a gradient to the right, one downwards, and one of both."""
    ramp = Image.linear_gradient("L").resize((64, 48))
    across = Image.linear_gradient("L").rotate(90).resize((64, 48))
    items = [(ramp, "down"), (across, "across"), (Image.merge("RGB", (ramp, across, ramp)), "both ways")]
    return read_dataset(write_dataset(tmp_path_factory.mktemp("oblong") / "data", items))


def test_latents_are_scaled_posterior_means(tiny_model, oblong):
    cache = build_cache(tiny_model, oblong, (32, 32), True, False, generator(), batch_size=2)
    assert len(cache) == 3
    assert cache.latents.shape == (1, 3, 4, 8, 8)
    assert cache.latents.dtype == torch.float32
    for i, sample in enumerate(oblong.samples):
        values, _ = prepare_image(open_picture(sample.path), 32, 32, True, False, generator())
        with torch.no_grad():
            mean = (
                tiny_model.vae.encode(values[None]).latent_dist.mean[0] * tiny_model.vae.config.scaling_factor
            )
        torch.testing.assert_close(cache.latents[0, i], mean, atol=1e-5, rtol=1e-4)


def test_time_ids_tell_the_true_size_and_crop(tiny_model, oblong):
    cache = build_cache(tiny_model, oblong, (32, 16), True, False, generator())
    # 64 x 48 covers 32 x 16 at half its size, 32 x 24, so 8 rows are left over and 4 cut off above.
    assert cache.add_time_ids.tolist() == [[[48, 64, 4, 0, 16, 32]] * 3]
    assert cache.latents.shape == (1, 3, 4, 4, 8)


def test_mirrored_versions_are_kept_and_drawn(tiny_model, oblong):
    cache = build_cache(tiny_model, oblong, (32, 32), True, True, generator())
    assert cache.latents.shape[0] == 2
    plain = build_cache(tiny_model, oblong, (32, 32), True, False, generator())
    torch.testing.assert_close(cache.latents[0], plain.latents[0])
    mirrored = open_picture(oblong.samples[1].path).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    values, _ = prepare_image(mirrored, 32, 32, True, False, generator())
    with torch.no_grad():
        mean = tiny_model.vae.encode(values[None]).latent_dist.mean[0] * tiny_model.vae.config.scaling_factor
    torch.testing.assert_close(cache.latents[1, 1], mean, atol=1e-5, rtol=1e-4)
    assert (cache.latents[1, 1] - cache.latents[0, 1]).abs().max() > 0.1
    rows = torch.full((400,), 1)
    latents, _, _ = cache.batch(rows, generator(), 0.0)
    flipped = (latents - cache.latents[1, 1]).abs().amax((1, 2, 3)) == 0
    assert 160 < int(flipped.sum()) < 240  # four standard deviations around a half


def test_random_crops_differ_and_are_told(tiny_model, oblong):
    cache = build_cache(tiny_model, oblong, (32, 32), False, True, generator(1))
    lefts = cache.add_time_ids[..., 3].flatten()
    assert cache.add_time_ids[..., 2].eq(0).all()  # 64 x 48 covers the square at 43 x 32: no row is left over
    assert len(lefts.unique()) > 2
    assert 0 <= lefts.min() <= lefts.max() <= 11
    again = build_cache(tiny_model, oblong, (32, 32), False, True, generator(1))
    assert torch.equal(again.latents, cache.latents)
    for version in range(2):  # what the ids say is what was cut out
        sample = oblong.samples[2]
        picture = open_picture(sample.path)
        if version:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        left = int(cache.add_time_ids[version, 2, 3])
        cut = picture.resize((43, 32), Image.Resampling.BILINEAR).crop((left, 0, left + 32, 32))
        values, _ = prepare_image(cut, 32, 32, True, False, generator())
        with torch.no_grad():
            mean = tiny_model.vae.encode(values[None]).latent_dist.mean[0]
        torch.testing.assert_close(
            cache.latents[version, 2], mean * tiny_model.vae.config.scaling_factor, atol=1e-5, rtol=1e-4
        )


def test_batches_hold_the_captions_of_their_pictures(tiny_model, oblong):
    cache = build_cache(tiny_model, oblong, (32, 32), True, False, generator(), batch_size=2)
    latents, prompts, ids = cache.batch(torch.tensor([2, 0, 2]), generator(), 0.0)
    assert torch.equal(latents, cache.latents[0, [2, 0, 2]])
    assert ids.shape == (3, 6)
    with torch.no_grad():
        expected = encode_prompts(
            tiny_model.tokenizer, tiny_model.text_encoder, ["both ways", "down", "both ways"]
        )
    torch.testing.assert_close(
        prompts.pooled_prompt_embeds, expected.pooled_prompt_embeds, atol=1e-5, rtol=1e-4
    )


def test_dropped_captions_become_the_encoded_empty_prompt(tiny_model, oblong):
    """Kolors encodes the empty prompt; zeros would be another condition."""
    cache = build_cache(tiny_model, oblong, (32, 32), True, False, generator())
    with torch.no_grad():
        empty = encode_prompts(tiny_model.tokenizer, tiny_model.text_encoder, [""]).pooled_prompt_embeds[0]
    rows = torch.zeros(400, dtype=torch.int64)
    for dropout, low, high in ((0.0, 0, 0), (0.25, 65, 135), (1.0, 400, 400)):
        _, prompts, _ = cache.batch(rows, generator(), dropout)
        dropped = (prompts.pooled_prompt_embeds - empty).abs().amax(1) < 1e-5
        assert low <= int(dropped.sum()) <= high
    assert empty.abs().max() > 0.1


def test_the_generator_alone_decides(tiny_model, oblong):
    cache = build_cache(tiny_model, oblong, (32, 32), True, True, generator())
    rows = torch.arange(3).repeat(4)
    first, again, other = (cache.batch(rows, generator(seed), 0.5) for seed in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1].prompt_embeds, again[1].prompt_embeds)
    assert not torch.equal(first[0], other[0])


def test_sizes_that_do_not_divide_are_refused(tiny_model, oblong):
    with pytest.raises(CourseError, match="multiples of 16"):
        build_cache(tiny_model, oblong, (40, 32), True, False, generator())


def test_a_picture_that_vanished_is_named(tiny_model, tmp_path):
    dataset = read_dataset(write_dataset(tmp_path / "data", [(Image.new("RGB", (32, 32)), "a")]))
    dataset.samples[0].path.unlink()
    with pytest.raises(CourseError, match=r"000\.png"):
        build_cache(tiny_model, dataset, (32, 32), True, False, generator())
