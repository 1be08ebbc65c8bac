"""Drawing from a picture, and with samplers that draw noise, against the stock pipelines; latents and pictures."""

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KolorsImg2ImgPipeline,
    KolorsPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image

from kolors_course.dataset.pixels import cover_picture
from kolors_course.diffusion import SAMPLERS, SPACINGS, STOCHASTIC_SAMPLERS
from kolors_course.errors import CourseError
from kolors_course.kolors import (
    Sampling,
    decode_latents,
    draw_latents,
    encode_pictures,
    encode_prompts,
    generate,
    preview_picture,
)

PROMPTS = ["a rabbit on a snowy field at night", "夜晚雪地上的一只兔子"]
SEEDS = [5, 6]
STEPS = 5
SCHEDULERS = {
    "euler": (EulerDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "dpm++2m": (DPMSolverMultistepScheduler, {}),
    "dpm++2m-karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "euler-ancestral": (EulerAncestralDiscreteScheduler, {}),
}


@pytest.fixture(scope="module")
def pipe(tiny_folder):
    pipeline = KolorsPipeline.from_pretrained(tiny_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(pixels).resize((48, 32))


def with_scheduler(pipe, name, spacing, pipeline=KolorsPipeline):
    scheduler, options = SCHEDULERS[name]
    pipe = pipeline.from_pipe(pipe)
    config = {**pipe.scheduler.config, "timestep_spacing": spacing, **options}
    pipe.scheduler = scheduler.from_config(config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generators():
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def encode(model, picture, width, height):
    return encode_pictures(model, [cover_picture(picture, width, height)])


def ours(model, sampling, original=None, watch=None):
    prompts, empty = (encode_prompts(model.tokenizer, model.text_encoder, texts) for texts in (PROMPTS, [""]))
    return draw_latents(model, prompts, empty, SEEDS, sampling, original, watch)


def assert_same_latents(one, two):
    # Float rounding, several steps through two U-Nets; latents have a size of about 1.
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize(("denoise", "spacing"), [(0.5, "leading"), (0.7, "linspace"), (1.0, "trailing")])
def test_equal_to_the_stock_image_to_image_pipeline(tiny_model, pipe, picture, sampler, denoise, spacing):
    spacing = "leading" if sampler == "dpm++2m-karras" else spacing
    original = encode(tiny_model, picture, 32, 32)
    sampling = Sampling(STEPS, 5.0, sampler, spacing, denoise=denoise)
    states = []
    latents = ours(tiny_model, sampling, original, states.append)
    stock = with_scheduler(pipe, sampler, spacing, KolorsImg2ImgPipeline)
    reference = stock(
        PROMPTS,
        image=original.expand(2, -1, -1, -1),
        strength=denoise,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        generator=generators(),
        output_type="latent",
    ).images
    assert len(states) == int(STEPS * denoise) + 1
    assert_same_latents(latents, reference)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_sampler_that_draws_noise_is_equal_to_the_stock_pipeline(tiny_model, pipe, spacing):
    latents = ours(tiny_model, Sampling(STEPS, 5.0, "euler-ancestral", spacing))
    stock = with_scheduler(pipe, "euler-ancestral", spacing)
    reference = stock(
        PROMPTS,
        height=32,
        width=32,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        generator=generators(),
        output_type="latent",
    ).images
    assert_same_latents(latents, reference)


@pytest.mark.parametrize("sampler", [*SAMPLERS, *STOCHASTIC_SAMPLERS])
def test_every_sampler_starts_from_a_picture_and_no_picture_depends_on_its_neighbours(
    tiny_model, picture, sampler
):
    options = {"steps": 4, "sampler": sampler, "denoise": 0.5}
    together = generate(tiny_model, PROMPTS, SEEDS, Sampling(**options), picture=picture)
    alone = generate(tiny_model, PROMPTS, SEEDS, Sampling(**options, batch_size=1), picture=picture)
    for one, two in zip(together, alone, strict=True):
        assert np.abs(np.asarray(one, np.int16) - np.asarray(two, np.int16)).max() <= 2
    assert together[0].tobytes() != together[1].tobytes()


def test_less_denoise_leaves_more_of_the_picture(tiny_model, picture):
    original = encode(tiny_model, picture, 32, 32)
    distances = [
        float((ours(tiny_model, Sampling(10, denoise=denoise), original) - original).norm())
        for denoise in (0.1, 0.4, 1.0)
    ]
    assert distances == sorted(distances)


def test_the_size_is_that_of_the_original(tiny_model, picture):
    original = encode(tiny_model, picture, 64, 32)
    cells = 32 // tiny_model.vae_scale_factor
    assert original.shape == (1, 4, cells, 2 * cells)
    latents = ours(tiny_model, Sampling(2, denoise=0.5, size=(32, 32)), original)
    assert latents.shape == (2, 4, cells, 2 * cells)


def test_encoding_is_the_mean_of_the_vae_of_the_middle(tiny_model, pipe, picture):
    middle = picture.crop((8, 0, 40, 32))
    pixels = torch.from_numpy(np.asarray(middle, np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = pipe.vae.encode(pixels).latent_dist.mode() * pipe.vae.config.scaling_factor
    torch.testing.assert_close(encode(tiny_model, picture, 32, 32), expected)


@pytest.mark.parametrize("denoise", [0.0, 0.1, -1.0, 1.5, float("nan")])
def test_a_denoise_that_leaves_no_step_is_refused(denoise):
    with pytest.raises(CourseError, match="denoise .* of 5 steps: give a number from 0.2"):
        Sampling(5, denoise=denoise)


def test_less_than_all_needs_a_picture(tiny_model):
    with pytest.raises(CourseError, match=r"denoise 0.5 needs a picture"):
        generate(tiny_model, PROMPTS, SEEDS, Sampling(4, denoise=0.5))


def test_what_watch_raises_stops_the_drawing(tiny_model):
    seen = []

    def watch(state):
        seen.append(state.step)
        if state.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tiny_model, PROMPTS, SEEDS, Sampling(10), watch=watch)
    assert seen == [0, 1, 2]


def test_a_preview_is_the_picture_or_a_small_one_like_it(tiny_model, picture):
    small = encode(tiny_model, picture, 32, 32)
    assert preview_picture(tiny_model, small[0]).tobytes() == decode_latents(tiny_model, small)[0].tobytes()
    cell = tiny_model.vae_scale_factor
    large = encode(tiny_model, picture, 64 * cell, 96 * cell)
    assert preview_picture(tiny_model, large[0]).size == (22 * cell, 32 * cell)
