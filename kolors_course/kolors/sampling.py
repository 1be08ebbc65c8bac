"""Pictures from prompts, with our own sampling loop; equal to `KolorsPipeline` on the same latents."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from kolors_course.dataset.pixels import cover_picture
from kolors_course.diffusion import (
    Conditioning,
    Denoise,
    Generator,
    SamplerState,
    convert_prediction,
    get_sampler,
    guided,
)
from kolors_course.errors import CourseError
from kolors_course.kolors.latents import decode_latents, encode_pictures
from kolors_course.kolors.memory import check_memory
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds, join
from kolors_course.kolors.regions import Region, stages_with_regions
from kolors_course.kolors.settings import Sampling
from kolors_course.kolors.stages import StagedPrompts, encode_stages, first_timesteps, join_stages, switched
from kolors_course.kolors.unet import conditioning_of, time_ids, unet_noise
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
    shape = (1, model.unet.config.in_channels, height // factor, width // factor)
    rows = [torch.randn(shape, generator=generator) for generator in generators]
    return torch.cat(rows).to(model.device, model.unet.dtype)


def initial_latents(model: KolorsModel, seeds: Sequence[int], height: int, width: int) -> Tensor:
    """`unit_noise` from seeds.

    Raises:
        CourseError: a seed is not in 0 … 2³²-1.
    """
    return unit_noise(model, noise_generators(seeds), height, width)


def prompt_denoiser(
    model: KolorsModel,
    prompts: PromptEmbeds | StagedPrompts,
    negative: PromptEmbeds | StagedPrompts | None,
    sampling: Sampling,
    latent_size: tuple[int, int],
    prediction_type: str = "epsilon",
) -> Denoise:
    """The guided `denoise` of a sampler for a batch of prompts; any sampler of `kolors_course.diffusion` takes it.

    At a guidance scale of 1 or less `negative` has no part in it, and may be None.

    Args:
        prompts, negative: B of each. Where they change on the way, `sampling` says which step is when.
        latent_size: (h, w) of the latents.
        prediction_type: how the predicted noise is put before it is guided, one of `PREDICTION_TYPES`. Guidance is
            the same in every way of putting it; its rescale is not. The sampler must be told the same.

    Raises:
        CourseError: guidance without a negative prompt.
    """
    if sampling.guidance_scale <= 1:
        negative = None
    elif negative is None:
        raise CourseError(f"guidance {sampling.guidance_scale:g} needs a negative prompt, even an empty one")
    shares = sorted({*prompts.shares, *(() if negative is None else negative.shares)})
    stages = [
        _stage_denoiser(
            model,
            prompts.at(share),
            None if negative is None else negative.at(share),
            sampling,
            latent_size,
            prediction_type,
        )
        for share in shares
    ]
    starts = first_timesteps(shares, sampling, model.schedule) if len(shares) > 1 else [math.inf]
    return switched(stages, starts)


def _stage_denoiser(
    model: KolorsModel,
    prompts: PromptEmbeds,
    negative: PromptEmbeds | None,
    sampling: Sampling,
    latent_size: tuple[int, int],
    prediction_type: str,
) -> Denoise:
    """`prompt_denoiser` of prompts that do not change; guided if there is a negative one."""
    height, width = (side * model.vae_scale_factor for side in latent_size)
    ids = time_ids(height, width).to(model.device, model.unet.dtype).expand(len(prompts), -1)
    both = join([prompts] if negative is None else [prompts, negative])
    cond = conditioning_of(both.rows(slice(0, len(prompts))), ids)
    uncond = conditioning_of(both.rows(slice(len(prompts), None)), ids) if negative is not None else None

    memories: dict[int, dict[Any, Any]] = defaultdict(dict)

    def call(sample: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        noise = unet_noise(model, sample, timestep, conditioning, memories[id(conditioning)])
        if prediction_type == "epsilon":
            return noise
        σ = float(model.schedule.sigma(timestep))
        α = (σ**2 + 1) ** -0.5
        return convert_prediction(noise, sample, α, α * σ, "epsilon", prediction_type)

    return guided(
        call,
        cond,
        uncond,
        sampling.guidance_scale,
        rescale=sampling.guidance_rescale,
        interval=sampling.guidance_interval,
    )


def sample_latents(
    model: KolorsModel,
    prompts: PromptEmbeds | StagedPrompts,
    negative: PromptEmbeds | StagedPrompts,
    latents: Tensor,
    sampling: Sampling,
    *,
    original: Tensor | None = None,
    generator: Generator | None = None,
) -> Iterator[SamplerState]:
    """Walk one batch from noise to clean latents, yielding every state; see `prompt_denoiser`.

    Args:
        latents: the noise.
        original: latents of the pictures to start from; needed if `sampling.denoise` is below 1.
        generator: what stochastic samplers draw from on the way.
    """
    height, width = latents.shape[2:]
    denoise = prompt_denoiser(model, prompts, negative, sampling, (height, width))
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
) -> Tensor:
    """Clean latents (B, C, h, w) of one batch, each row from its own prompt and seed.

    Args:
        negative: one row for all, or B.
        original: latents of pictures to start from, (B, C, h, w) or one row for all; the size is then theirs.
        watch: called with every state; what it raises stops the drawing.

    Raises:
        CourseError: see `generate`.
    """
    width, height = check_size(model, sampling)
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
        model, prompts, negative, noise, sampling, original=original, generator=generators
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
    regions: Sequence[Sequence[Region]] | None = None,
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
        regions: what is to be where in each picture, see `kolors_course.kolors.regions`; as many as prompts.
        watch: called with every state of every batch; what it raises stops the drawing.

    Raises:
        CourseError: numbers of prompts, seeds, negatives or regions that differ, wrong switches or weights in a
            prompt, sizes that do not fit, unknown sampler, bad number of steps, seed out of range, a denoise below 1
            without a picture, more than memory holds.
    """
    sampling = sampling or model.sampling
    if len(prompts) != len(seeds):
        raise CourseError(f"{len(prompts)} prompts but {len(seeds)} seeds; give one seed for each prompt")
    negatives = [sampling.negative_prompt] * len(prompts) if negatives is None else negatives
    if len(negatives) != len(prompts):
        raise CourseError(f"{len(prompts)} prompts but {len(negatives)} negative prompts; give one for each")
    regions = [()] * len(prompts) if regions is None else regions
    if len(regions) != len(prompts):
        raise CourseError(f"{len(prompts)} prompts but regions for {len(regions)}; give a list for each")
    check_seeds(seeds)
    check_prompts([*prompts, *negatives, *(region.prompt for each in regions for region in each)])
    size = check_drawing(model, sampling, len(prompts))
    latent_size = size[1] // model.vae_scale_factor, size[0] // model.vae_scale_factor
    original = encode_pictures(model, [cover_picture(picture, *size)]) if picture else None
    pictures: list[Image.Image] = []
    with torch.no_grad():
        # Each by itself: what the others keep away from does not change its numbers.
        kept_away = {text: encode_stages(model.tokenizer, model.text_encoder, [text]) for text in negatives}
        for start in range(0, len(prompts), sampling.batch_size):
            rows = slice(start, start + sampling.batch_size)
            encoded = encode_stages(model.tokenizer, model.text_encoder, prompts[rows])
            encoded = stages_with_regions(
                model.tokenizer, model.text_encoder, encoded, regions[rows], latent_size
            )
            negative = join_stages([kept_away[text] for text in negatives[rows]])
            latents = draw_latents(model, encoded, negative, seeds[rows], sampling, original, watch)
            pictures += decode_latents(model, latents)
            if progress:
                progress(len(pictures))
    return pictures
