"""Pictures from prompts, with our own sampling loop; equal to `KolorsPipeline` on the same latents."""

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor

from kolors_course.dataset.pixels import cover_picture
from kolors_course.diffusion import Generator, SamplerState, get_sampler
from kolors_course.errors import CourseError
from kolors_course.kolors.control import Control
from kolors_course.kolors.denoiser import Steering, prompt_denoiser
from kolors_course.kolors.inpainting import cut_hole
from kolors_course.kolors.latents import decode_latents, encode_pictures
from kolors_course.kolors.memory import check_memory
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds
from kolors_course.kolors.settings import Sampling
from kolors_course.kolors.stages import StagedPrompts, encode_stages, join_stages
from kolors_course.prompting import check_prompts
from kolors_course.ranges import SEEDS

MAX_SIDE = 2**16  # pixels


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that are out of range.

    Raises:
        CourseError: a seed is not in 0 … 2³²-1.
    """
    if wrong := [seed for seed in seeds if not 0 <= seed < SEEDS]:
        raise CourseError(f"seed {wrong[0]} is out of range; give a whole number from 0 to {SEEDS - 1}")


def noise_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator on the CPU for each seed: the same noise on every device.

    Raises:
        CourseError: a seed is not in 0 … 2³²-1.
    """
    check_seeds(seeds)
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def unit_noise(model: KolorsModel, generators: Sequence[torch.Generator], height: int, width: int) -> Tensor:
    """Standard normal latents (B, C, h, w), each row from its own generator, so batches do not change pictures."""
    factor = model.vae_scale_factor
    shape = (1, model.latent_channels, height // factor, width // factor)
    rows = [torch.randn(shape, generator=generator) for generator in generators]
    return torch.cat(rows).to(model.device, model.unet.dtype)


def initial_latents(model: KolorsModel, seeds: Sequence[int], height: int, width: int) -> Tensor:
    """`unit_noise` from seeds.

    Raises:
        CourseError: a seed is not in 0 … 2³²-1.
    """
    return unit_noise(model, noise_generators(seeds), height, width)


def sample_latents(
    model: KolorsModel,
    prompts: PromptEmbeds | StagedPrompts,
    negative: PromptEmbeds | StagedPrompts,
    latents: Tensor,
    sampling: Sampling,
    *,
    original: Tensor | None = None,
    steering: Steering | None = None,
    generator: Generator | None = None,
) -> Iterator[SamplerState]:
    """Walk one batch from noise to clean latents, yielding every state; see `prompt_denoiser`.

    Args:
        latents: the noise.
        original: latents of the pictures to start from; needed if `sampling.denoise` is below 1.
        generator: what stochastic samplers draw from on the way.
    """
    height, width = latents.shape[2:]
    denoise = prompt_denoiser(model, prompts, negative, sampling, (height, width), steering=steering)
    sampler = get_sampler(sampling.sampler, spacing=sampling.spacing, generator=generator)
    return sampler(
        denoise, latents, model.schedule, sampling.steps, original=original, first_step=sampling.first_step
    )


@torch.no_grad()
def draw_latents(
    model: KolorsModel,
    prompts: PromptEmbeds | StagedPrompts,
    negative: PromptEmbeds | StagedPrompts,
    seeds: Sequence[int],
    sampling: Sampling,
    original: Tensor | None = None,
    watch: Callable[[SamplerState], None] | None = None,
    steering: Steering | None = None,
) -> Tensor:
    """Clean latents (B, C, h, w) of one batch, each row from its own prompt and seed.

    Args:
        negative: one row for all, or B.
        original: latents of pictures to start from, (B, C, h, w) or one row for all; the size is then theirs.
        watch: called with every state; what it raises stops the drawing.
        steering: with a hole, drawing starts from the hole's own picture.

    Raises:
        CourseError: see `generate`.
    """
    width, height = check_size(model, sampling)
    if steering and steering.hole:
        original = steering.hole.start(sampling.denoise)
    if original is not None:
        height, width = (side * model.vae_scale_factor for side in original.shape[2:])
        original = original.to(model.device, model.unet.dtype).expand(len(seeds), -1, -1, -1)
    elif sampling.denoise < 1:
        raise CourseError(
            f"denoise {sampling.denoise:g} needs a picture to start from; give one, or denoise 1"
        )
    generators = noise_generators(seeds)
    noise = unit_noise(model, generators, height, width)
    if len(negative) == 1:
        negative = negative.rows([0] * len(prompts))
    for state in sample_latents(
        model, prompts, negative, noise, sampling, original=original, steering=steering, generator=generators
    ):
        if watch:
            watch(state)
    return state.sample


def check_size(model: KolorsModel, sampling: Sampling) -> tuple[int, int]:
    """The size to draw at, (width, height): that asked for, or the model's own.

    Raises:
        CourseError: a side is not divisible by what VAE and U-Net need, or longer than `MAX_SIDE`.
    """
    width, height = sampling.size or (model.default_size, model.default_size)
    if width % model.size_multiple or height % model.size_multiple or min(width, height) <= 0:
        raise CourseError(
            f"size {width}x{height}: both sides must be positive multiples of {model.size_multiple}"
        )
    if max(width, height) > MAX_SIDE:
        raise CourseError(f"size {width}x{height}: a side has at most {MAX_SIDE} pixels")
    return width, height


def check_drawing(model: KolorsModel, sampling: Sampling, count: int, kept: int = 0) -> tuple[int, int]:
    """(width, height) to draw `count` pictures at, if the model can draw it and memory holds it; see `check_memory`.

    Raises:
        CourseError: see `check_size` and `check_memory`.
    """
    size = check_size(model, sampling)
    check_memory(model, size, count, sampling.batch_size, kept)
    return size


def generate(
    model: KolorsModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    negatives: Sequence[str] | None = None,
    picture: Image.Image | None = None,
    mask: Image.Image | None = None,
    controls: Sequence[Control] = (),
    watch: Callable[[SamplerState], None] | None = None,
) -> list[Image.Image]:
    """One picture for each prompt and seed.

    Args:
        prompts, seeds: equally many. Words may be weighed, (word:1.3), and prompts change on the way, [a:b:0.5]; see
            `kolors_course.prompting`. A picture depends on its own prompt and seed, not on its neighbours.
        sampling: None for the model's own.
        negatives: what each picture keeps away from, instead of `sampling.negative_prompt`.
        progress: called with the number of pictures finished so far.
        picture: what every picture starts from, as far as `sampling.denoise` leaves it; scaled to cover the size
            and cropped in the middle.
        mask: of the shape of `picture`: only what is white in it is drawn, all else stays to the pixel; grey mixes.
        controls: ControlNets and the pictures that they are shown; see `Control`.
        watch: called with every state of every batch; what it raises stops the drawing.

    Raises:
        CourseError: numbers of prompts, seeds or negatives that differ, wrong switches or weights in a prompt, sizes
            that do not fit, unknown sampler, bad number of steps, seed out of range, a denoise below 1 without a
            picture, a mask without a picture or without white, a U-Net made for inpainting without a mask, a
            control with another number of pictures, more than memory holds.
    """
    sampling = sampling or model.sampling
    if len(prompts) != len(seeds):
        raise CourseError(f"{len(prompts)} prompts but {len(seeds)} seeds; give one seed for each prompt")
    negatives = [sampling.negative_prompt] * len(prompts) if negatives is None else negatives
    if len(negatives) != len(prompts):
        raise CourseError(f"{len(prompts)} prompts but {len(negatives)} negative prompts; give one for each")
    check_seeds(seeds)
    check_prompts([*prompts, *negatives])
    size = check_drawing(model, sampling, len(prompts))
    if mask and not picture:
        raise CourseError("a mask needs the picture that it is painted on; give both")
    hole = cut_hole(model, picture, mask, size) if picture and mask else None
    original = encode_pictures(model, [cover_picture(picture, *size)]) if picture and not hole else None
    pictures: list[Image.Image] = []
    with torch.no_grad():
        # Each by itself: what the others keep away from does not change its numbers.
        kept_away = {text: encode_stages(model.tokenizer, model.text_encoder, [text]) for text in negatives}
        for start in range(0, len(prompts), sampling.batch_size):
            rows = slice(start, start + sampling.batch_size)
            encoded = encode_stages(model.tokenizer, model.text_encoder, prompts[rows])
            negative = join_stages([kept_away[text] for text in negatives[rows]])
            steering = Steering(hole, tuple(control.rows(rows) for control in controls))
            latents = draw_latents(model, encoded, negative, seeds[rows], sampling, original, watch, steering)
            drawn = decode_latents(model, latents)
            pictures += [hole.paste(each) for each in drawn] if hole else drawn
            if progress:
                progress(len(pictures))
    return pictures
