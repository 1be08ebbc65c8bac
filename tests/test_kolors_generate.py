"""Our sampling loop against the stock pipeline, and what `generate` refuses."""

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KolorsPipeline,
    UniPCMultistepScheduler,
)

from kolors_course.diffusion import euler
from kolors_course.errors import CourseError
from kolors_course.kolors import (
    Sampling,
    decode_latents,
    encode_pictures,
    encode_prompts,
    generate,
    initial_latents,
    load_model,
    prompt_denoiser,
    sample_latents,
)

PROMPTS = ["a rabbit on a snowy field at night", "夜晚雪地上的一只兔子"]
SEEDS = [5, 6]
STEPS = 3


@pytest.fixture(scope="module")
def pipe(tiny_folder):
    pipeline = KolorsPipeline.from_pretrained(tiny_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pixels(pictures) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=np.int16) for picture in pictures])


@torch.no_grad()
def our_latents(model, sampling, height=32, width=32, negative=""):
    prompts = encode_prompts(model.tokenizer, model.text_encoder, PROMPTS)
    empty = encode_prompts(model.tokenizer, model.text_encoder, [negative] * 2)
    start = initial_latents(model, SEEDS, height, width)
    *_, last = sample_latents(model, prompts, empty, start, sampling)
    return start, last.sample


SCHEDULERS = {
    "euler": EulerDiscreteScheduler,
    "dpm++2m": DPMSolverMultistepScheduler,
    "dpm++2m-karras": DPMSolverMultistepScheduler,
    "heun": HeunDiscreteScheduler,
    "unipc": UniPCMultistepScheduler,
}


@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_equal_to_the_stock_pipeline(tiny_model, pipe, sampler, guidance_scale):
    karras = {"use_karras_sigmas": sampler.endswith("karras")}
    pipe.scheduler = SCHEDULERS[sampler].from_config(pipe.scheduler.config, **karras)
    sampling = Sampling(STEPS, guidance_scale, sampler)
    start, ours = our_latents(tiny_model, sampling)
    options = {"num_inference_steps": STEPS, "guidance_scale": guidance_scale, "height": 32, "width": 32}
    stock = pipe(PROMPTS, latents=start, output_type="latent", **options).images
    # Guided steps multiply the float32 rounding of the U-Net (1e-6) by the guidance and by sigma up to 29.
    torch.testing.assert_close(ours, stock, atol=1e-3, rtol=1e-4)
    assert ours.std() > 0.1
    drawn = pixels(pipe(PROMPTS, latents=start, output_type="pil", **options).images)
    assert np.abs(pixels(generate(tiny_model, PROMPTS, SEEDS, sampling)) - drawn).max() <= 1


def test_equal_to_the_stock_pipeline_with_a_negative_prompt_and_an_oblong_size(tiny_model, pipe):
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=False)
    sampling = Sampling(STEPS, 4.0, size=(48, 32), negative_prompt="红色, blurry")
    start, ours = our_latents(tiny_model, sampling, height=32, width=48, negative="红色, blurry")
    assert start.shape == (2, 4, 8, 12)
    stock = pipe(
        PROMPTS,
        latents=start,
        negative_prompt=["红色, blurry"] * 2,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        height=32,
        width=48,
        output_type="latent",
    ).images
    torch.testing.assert_close(ours, stock, atol=1e-3, rtol=1e-4)
    _, without = our_latents(tiny_model, sampling, height=32, width=48)
    assert (without - ours).abs().max() > 0.05  # the negative prompt does something
    assert generate(tiny_model, PROMPTS, SEEDS, sampling)[0].size == (48, 32)


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_keys_and_values_of_the_text_are_computed_once(tiny_model, guidance_scale):
    layers = [
        getattr(module, name)
        for layer, module in tiny_model.unet.named_modules()
        if layer.endswith("attn2")
        for name in ("to_k", "to_v")
    ]
    calls = []
    handles = [layer.register_forward_hook(lambda *_: calls.append(1)) for layer in layers]
    first = our_latents(tiny_model, Sampling(STEPS, guidance_scale))[1]
    for handle in handles:
        handle.remove()
    assert len(calls) == len(layers)
    again = our_latents(tiny_model, Sampling(STEPS, guidance_scale), negative="blurry")[1]
    assert torch.equal(again, first) == (
        guidance_scale == 1
    )  # nothing is remembered from one picture to the next


def test_without_guidance_the_negative_prompt_changes_not_a_bit(tiny_model):
    sampling = Sampling(STEPS, 1.0)
    _, without = our_latents(tiny_model, sampling)
    _, ours = our_latents(tiny_model, sampling, negative="红色, blurry, " * 20)
    assert torch.equal(ours, without)


def test_a_picture_does_not_depend_on_its_neighbours(tiny_model):
    prompts = [PROMPTS[0], "", PROMPTS[1], "a cat"]
    seeds = [3, 1, 4, 1]
    sampling = Sampling(STEPS)
    together = pixels(generate(tiny_model, prompts, seeds, sampling))
    for size in (1, 3):
        apart = pixels(generate(tiny_model, prompts, seeds, Sampling(STEPS, batch_size=size)))
        assert np.abs(apart - together).max() <= 1  # another batch size, another order of float32 sums
    alone = pixels(generate(tiny_model, prompts[2:3], seeds[2:3], sampling))
    assert np.abs(alone - together[2:3]).max() <= 1
    assert np.abs(together[1] - together[3]).max() > 5  # same seed, other prompt
    assert (together[0] != together[2]).any()


def test_the_same_call_gives_the_same_pictures_and_leaves_the_global_generator_alone(tiny_model):
    state = torch.get_rng_state()
    first = pixels(generate(tiny_model, PROMPTS, SEEDS, Sampling(2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(pixels(generate(tiny_model, PROMPTS, SEEDS, Sampling(2))), first)
    other = pixels(generate(tiny_model, PROMPTS, [7, 8], Sampling(2)))
    assert np.abs(other - first).max() > 5


def test_progress_counts_pictures(tiny_model):
    done = []
    pictures = generate(tiny_model, ["a"] * 5, range(5), Sampling(1, batch_size=2), done.append)
    assert done == [2, 4, 5]
    assert len(pictures) == 5
    assert generate(tiny_model, [], [], Sampling(1)) == []


def test_initial_latents_come_from_their_own_seeds(tiny_model):
    latents = initial_latents(tiny_model, [0, 2**32 - 1], 32, 32)
    for row, seed in zip(latents, [0, 2**32 - 1], strict=True):
        expected = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(row, expected)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_torch_would_cut_are_refused(tiny_model, seed):
    with pytest.raises(CourseError, match="seed"):
        generate(tiny_model, ["a"], [seed], Sampling(1))


@pytest.mark.parametrize("size", [(33, 32), (32, 40), (0, 32), (-16, 32), (32, 8)])
def test_sizes_that_do_not_divide_are_refused(tiny_model, size):
    assert tiny_model.size_multiple == 16  # 4 pixels a cell, halved twice in the U-Net
    with pytest.raises(CourseError, match=f"{size[0]}x{size[1]}.*16"):
        generate(tiny_model, ["a"], [0], Sampling(1, size=size))


@pytest.mark.parametrize("steps", [1101, 5000])
def test_more_steps_than_the_schedule_has_are_refused(tiny_model, steps):
    with pytest.raises(CourseError, match=str(steps)):
        generate(tiny_model, ["a"], [0], Sampling(steps))


def test_an_unknown_sampler_is_refused_with_the_known_ones(tiny_model):
    with pytest.raises(CourseError, match=r'"magic".*euler'):
        generate(tiny_model, ["a"], [0], Sampling(1, sampler="magic"))


def test_prompts_and_seeds_must_match(tiny_model):
    with pytest.raises(CourseError, match="2 prompts but 1 seeds"):
        generate(tiny_model, ["a", "b"], [0])


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", 0), ("batch_size", 0), ("guidance_scale", float("nan")), ("guidance_scale", float("inf"))],
)
def test_sampling_checks_its_numbers(field, value):
    with pytest.raises(CourseError, match=field):
        Sampling(**{field: value})


def test_pictures_that_are_not_finite_are_an_error_not_black(tiny_model):
    latents = torch.zeros(1, 4, 8, 8)
    assert decode_latents(tiny_model, latents)[0].size == (32, 32)
    with pytest.raises(CourseError, match="not finite"):
        decode_latents(tiny_model, latents / 0)


@torch.no_grad()
def test_decoding_is_that_of_the_stock_pipeline(tiny_model, pipe):
    latents = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    scaled = latents / pipe.vae.config.scaling_factor
    stock = pipe.image_processor.postprocess(pipe.vae.decode(scaled).sample, output_type="pil")
    assert np.array_equal(pixels(decode_latents(tiny_model, latents)), pixels(stock))


@torch.no_grad()
def test_encoding_is_that_of_the_stock_pipeline(tiny_model, pipe):
    drawn = decode_latents(tiny_model, torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0)))
    stock = pipe.vae.encode(pipe.image_processor.preprocess(drawn)).latent_dist.mean
    torch.testing.assert_close(encode_pictures(tiny_model, drawn), stock * pipe.vae.config.scaling_factor)


def test_half_precision_draws_nearly_the_same(tiny_folder, tiny_model):
    model = load_model(tiny_folder, dtype=torch.bfloat16)
    assert {part.dtype for part in (model.unet, model.vae, model.text_encoder)} == {torch.bfloat16}
    half = pixels(generate(model, PROMPTS, SEEDS, Sampling(2, 1.0)))
    full = pixels(generate(tiny_model, PROMPTS, SEEDS, Sampling(2, 1.0)))
    assert np.abs(half - full).mean() < 5  # of 255; bfloat16 has three decimal digits


def test_guidance_is_the_same_however_the_prediction_is_put_but_its_rescale_is_not(tiny_model):
    def ends(prediction_type, rescale):
        prompts, empty = (
            encode_prompts(tiny_model.tokenizer, tiny_model.text_encoder, texts)
            for texts in (PROMPTS, ["", ""])
        )
        sampling = Sampling(STEPS, 4.0, guidance_rescale=rescale)
        start = initial_latents(tiny_model, SEEDS, 32, 32)
        denoise = prompt_denoiser(tiny_model, prompts, empty, sampling, (8, 8), prediction_type)
        *_, last = euler(denoise, start, tiny_model.schedule, STEPS, prediction_type=prediction_type)
        return last.sample

    with torch.no_grad():
        noise, velocity = (ends(kind, 0.0) for kind in ("epsilon", "v_prediction"))
        torch.testing.assert_close(noise, velocity, atol=2e-3, rtol=1e-3)
        rescaled, rescaled_velocity = (ends(kind, 0.7) for kind in ("epsilon", "v_prediction"))
    assert (rescaled - noise).abs().max() > 0.01
    assert (rescaled - rescaled_velocity).abs().max() > 0.01


def test_an_interval_guides_only_inside(tiny_model):
    _, everywhere = our_latents(tiny_model, Sampling(STEPS, 4.0))
    _, unguided = our_latents(tiny_model, Sampling(STEPS, 1.0))
    _, all_inside = our_latents(tiny_model, Sampling(STEPS, 4.0, guidance_interval=(0, 1100)))
    _, all_outside = our_latents(tiny_model, Sampling(STEPS, 4.0, guidance_interval=(1100, 1100)))
    torch.testing.assert_close(all_inside, everywhere)
    torch.testing.assert_close(all_outside, unguided, atol=1e-4, rtol=1e-4)
    _, middle = our_latents(tiny_model, Sampling(STEPS, 4.0, guidance_interval=(300, 500)))
    assert min((middle - other).abs().max() for other in (everywhere, unguided)) > 0.01


def test_without_guidance_there_need_be_no_negative_prompt(tiny_model):
    prompts, empty = (
        encode_prompts(tiny_model.tokenizer, tiny_model.text_encoder, [text]) for text in ("a cat", "")
    )
    latents = initial_latents(tiny_model, [0], 16, 16)
    size = tuple(latents.shape[2:])
    plain, same = (
        prompt_denoiser(tiny_model, prompts, negative, Sampling(guidance_scale=1.0), size)(
            latents, torch.tensor(500)
        )
        for negative in (None, empty)
    )
    assert torch.equal(plain, same)
    with pytest.raises(CourseError, match="guidance 2 needs a negative prompt, even an empty one"):
        prompt_denoiser(tiny_model, prompts, None, Sampling(guidance_scale=2.0), size)
