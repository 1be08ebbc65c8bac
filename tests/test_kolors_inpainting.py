"""Inpainting: exact where the picture is known, with every sampler; the nine-channel U-Net against stock parts."""

import copy

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from diffusers.models.attention_processor import AttnProcessor2_0
from PIL import Image
from tiny import QUICK

from kolors_course.dataset.pixels import cover_picture
from kolors_course.diffusion import (
    PREDICTION_TYPES,
    SAMPLERS,
    STOCHASTIC_SAMPLERS,
    NoiseSchedule,
    euler,
    get_sampler,
    keep_known,
)
from kolors_course.errors import CourseError
from kolors_course.kolors import (
    Sampling,
    decode_latents,
    draw_latents,
    encode_prompts,
    generate,
    initial_latents,
)
from kolors_course.kolors.denoiser import Steering
from kolors_course.kolors.inpainting import cut_hole
from kolors_course.kolors.prompts import encode_prompts_padded
from kolors_course.training.lora import train_lora

SCHEDULE = NoiseSchedule.kolors()
SIDE = 32
TRAILING = Sampling(3, 2.0, spacing="trailing")
PROMPTS, SEEDS = ["a rabbit on a snowy field at night", "夜晚雪地上的一只猫"], [3, 4]


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(pixels).resize((SIDE, SIDE))


@pytest.fixture
def mask():
    grey = np.zeros((SIDE, SIDE), np.uint8)
    grey[8:24, 12:20], grey[24:28, 12:20] = 255, 128
    return Image.fromarray(grey)


def odd_model(sample, timestep):
    """A network that knows nothing of the picture."""
    return torch.tanh(3 * sample + timestep / 1000)


@pytest.mark.parametrize("name", [*SAMPLERS, *STOCHASTIC_SAMPLERS])
def test_every_sampler_arrives_at_what_is_known(name):
    known, hole = noise(1, 4, 6, 6, seed=1), torch.zeros(1, 1, 6, 6)
    hole[..., 2:4, 1:5] = 1
    options = {"generator": torch.Generator().manual_seed(0)} if name in STOCHASTIC_SAMPLERS else {}
    denoise = keep_known(odd_model, known, hole, SCHEDULE)
    *_, last = get_sampler(name, **options)(denoise, noise(2, 4, 6, 6), SCHEDULE, 6)
    kept = (hole == 0).expand_as(last.sample)
    torch.testing.assert_close(last.sample[kept], known.expand_as(last.sample)[kept], rtol=0, atol=2e-5)
    assert (last.sample - known)[~kept].abs().min() > 1e-3


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_it_is_the_truth_in_every_way_of_putting_it(prediction_type):
    known = noise(1, 4, 3, 3, seed=1)
    denoise = keep_known(odd_model, known, torch.zeros(1, 1, 3, 3), SCHEDULE, prediction_type)
    *_, last = euler(denoise, noise(1, 4, 3, 3), SCHEDULE, 5, prediction_type=prediction_type)
    torch.testing.assert_close(last.sample, known, rtol=0, atol=2e-5)


def test_with_euler_the_known_part_is_the_picture_with_its_first_noise_at_every_level():
    """What diffusers pastes in after each step, `add_noise(picture, noise, timestep)`."""
    known, ε = noise(1, 4, 3, 3, seed=1), noise(1, 4, 3, 3)
    denoise = keep_known(odd_model, known, torch.zeros(1, 1, 3, 3), SCHEDULE)
    for state in euler(denoise, ε, SCHEDULE, 5, original=known):
        wanted = (known + state.sigma * ε) / (state.sigma**2 + 1) ** 0.5
        torch.testing.assert_close(state.sample, wanted, rtol=1e-4, atol=1e-5)


def test_a_hole_everywhere_changes_nothing(tiny_model, picture):
    whole = Image.new("L", picture.size, 255)
    plain = generate(tiny_model, PROMPTS, SEEDS, TRAILING)
    drawn = generate(tiny_model, PROMPTS, SEEDS, TRAILING, picture=picture, mask=whole)
    for one, two in zip(plain, drawn, strict=True):
        assert np.abs(np.asarray(one, int) - np.asarray(two, int)).max() <= 1


@pytest.mark.parametrize("denoise", [1.0, 0.7])
def test_around_the_hole_every_pixel_stays(tiny_model, picture, mask, denoise):
    sampling = Sampling(3, 2.0, spacing="trailing", denoise=denoise)
    for drawn in generate(tiny_model, PROMPTS, SEEDS, sampling, picture=picture, mask=mask):
        before, after, grey = np.asarray(picture, int), np.asarray(drawn, int), np.asarray(mask)
        assert (before == after)[grey == 0].all()
        assert np.abs(before - after)[grey == 255].mean() > 10


def test_a_cell_half_in_the_hole_is_a_mixture(tiny_model, picture):
    grey = np.zeros((SIDE, SIDE), np.uint8)
    grey[:, :2] = 255  # cells of 4 pixels
    hole = cut_hole(tiny_model, picture, Image.fromarray(grey), (SIDE, SIDE))
    assert hole.cells.shape == (1, 1, 8, 8)
    assert hole.cells[0, 0, :, 0].tolist() == [0.5] * 8
    assert not hole.cells[..., 1:].any()


def widened(model, columns):
    """The model with a U-Net made for inpainting: five more channels, with `columns` as their weights."""
    unet = copy.deepcopy(model.unet)
    conv = unet.conv_in
    wide = torch.nn.Conv2d(9, conv.out_channels, 3, padding=1)
    with torch.no_grad():
        wide.weight.copy_(torch.cat([conv.weight, columns], dim=1))
        wide.bias.copy_(conv.bias)
    unet.conv_in = wide.requires_grad_(False)
    unet.register_to_config(in_channels=9)
    return copy.copy(model).__class__(**{**vars(model), "unet": unet})


@pytest.fixture(scope="module")
def columns(tiny_model):
    return 0.2 * noise(tiny_model.unet.conv_in.out_channels, 5, 3, 3)


def test_the_nine_channels_are_those_of_stock_diffusers(tiny_model, columns, picture, mask):
    """Noisy latents, hole, latents of the picture with the hole in grey; as KolorsInpaintPipeline has them."""
    model = widened(tiny_model, columns)
    hole = cut_hole(model, picture, mask, (SIDE, SIDE))
    pixels = torch.from_numpy(np.asarray(picture, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    binary = torch.from_numpy((np.asarray(mask) >= 128).astype(np.float32))[None, None]
    masked = model.vae.encode(pixels * (binary < 0.5)).latent_dist.mean * model.vae.config.scaling_factor
    cells = torch.nn.functional.interpolate(binary, size=(8, 8))
    beside = torch.cat([cells, masked], dim=1)
    torch.testing.assert_close(hole.channels, beside)

    texts = encode_prompts_padded(model.tokenizer, model.text_encoder, ["", PROMPTS[0]])
    scheduler = EulerDiscreteScheduler.from_config(SCHEDULE_CONFIG)
    scheduler.set_timesteps(3)
    ε = initial_latents(model, SEEDS[:1], SIDE, SIDE)
    latents = hole.start(1.0) + ε * scheduler.sigmas[0]
    stock = copy.deepcopy(model.unet)
    stock.set_attn_processor(AttnProcessor2_0())
    for t in scheduler.timesteps:
        sample = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        told = {
            "text_embeds": texts.pooled_prompt_embeds,
            "time_ids": torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]] * 2, dtype=torch.float32),
        }
        sample = torch.cat([sample, beside.expand(2, -1, -1, -1)], dim=1)
        with torch.no_grad():
            predicted = stock(sample, t, texts.prompt_embeds, added_cond_kwargs=told).sample
        without, with_text = predicted.chunk(2)
        latents = scheduler.step(without + 2 * (with_text - without), t, latents).prev_sample

    prompts, empty = (
        encode_prompts(model.tokenizer, model.text_encoder, [text]) for text in (PROMPTS[0], "")
    )
    ours = draw_latents(model, prompts, empty, SEEDS[:1], TRAILING, steering=Steering(hole))
    torch.testing.assert_close(ours, latents, rtol=1e-3, atol=1e-3)


SCHEDULE_CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.014,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1100,
    "timestep_spacing": "trailing",
}


def test_columns_of_zeros_leave_the_model_as_it_was(tiny_model, columns, picture):
    """How an inpainting U-Net begins its training: arXiv 2112.10752's was widened so."""
    whole = Image.new("L", picture.size, 255)
    model = widened(tiny_model, torch.zeros_like(columns))
    (one,) = generate(tiny_model, PROMPTS[:1], SEEDS[:1], TRAILING)
    (two,) = generate(model, PROMPTS[:1], SEEDS[:1], TRAILING, picture=picture, mask=whole)
    assert np.abs(np.asarray(one, int) - np.asarray(two, int)).max() <= 1


def test_pictures_of_another_size_are_brought_to_the_models(tiny_model, mask):
    picture = Image.effect_mandelbrot((90, 90), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    (drawn,) = generate(tiny_model, PROMPTS[:1], [1], TRAILING, picture=picture, mask=mask.resize((45, 45)))
    assert drawn.size == (SIDE, SIDE)
    assert drawn.getpixel((0, 0)) == cover_picture(picture, SIDE, SIDE).getpixel((0, 0))


def test_what_does_not_go_is_told(tiny_model, columns, picture, mask):
    def refused(model=tiny_model, **given):
        with pytest.raises(CourseError) as caught:
            generate(model, PROMPTS[:1], [1], TRAILING, **given)
        return str(caught.value)

    assert refused(mask=mask) == "a mask needs the picture that it is painted on; give both"
    black = Image.new("L", mask.size)
    assert "the mask is all black" in refused(picture=picture, mask=black)
    wide = mask.resize((64, 32))
    assert "different shapes (32x32 and 64x32)" in refused(picture=picture, mask=wide)
    assert "made for inpainting: give a picture and a mask" in refused(widened(tiny_model, columns))
    odd = widened(tiny_model, columns)
    odd.unet.register_to_config(in_channels=7)
    assert "takes 7 channels, and its latents have 4" in refused(odd, picture=picture, mask=mask)


def test_a_lora_is_not_trained_on_a_model_made_for_inpainting(tiny_model, columns, tiny_pictures, tmp_path):
    with pytest.raises(
        CourseError, match="made for inpainting; train on the model that draws whole pictures"
    ):
        train_lora(widened(tiny_model, columns), tiny_pictures, tmp_path / "run", QUICK)
    assert not (tmp_path / "run").exists()


def test_soft_edges_show_both_pictures(tiny_model, picture, mask):
    hole = cut_hole(tiny_model, picture, mask, (SIDE, SIDE))
    (drawn,) = decode_latents(tiny_model, noise(1, 4, 8, 8))
    pasted, share = np.asarray(hole.paste(drawn), float), 128 / 255
    mixed = share * np.asarray(drawn, float) + (1 - share) * np.asarray(picture, float)
    assert np.abs(pasted - mixed)[np.asarray(mask) == 128].max() <= 1
