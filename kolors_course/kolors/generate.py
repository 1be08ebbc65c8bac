"""Pictures from prompts, with our own sampling loop; equal to `KolorsPipeline` on the same latents."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from kolors_course.diffusion import SamplerState, get_sampler, guided
from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds, encode_prompts, join

SEEDS = 2**32  # torch's CPU generator reads no more bits of a seed


@dataclass(frozen=True)
class Sampling:
    """How to sample. `size` is (width, height) in pixels; None means the model's own size.

    Raises:
        CourseError: a number is out of range.
    """

    steps: int = 25
    guidance_scale: float = 5.0
    sampler: str = "euler"
    size: tuple[int, int] | None = None
    negative_prompt: str = ""
    batch_size: int = 8

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise CourseError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not math.isfinite(self.guidance_scale):
            raise CourseError(f"guidance_scale must be a finite number, not {self.guidance_scale}")


def time_ids(height: int, width: int) -> Tensor:
    """(6,) micro-conditioning of an uncropped picture: original size, crop corner, target size
    (arXiv 2307.01952, section 2.2)."""
    return torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)


def initial_latents(model: KolorsModel, seeds: Sequence[int], height: int, width: int) -> Tensor:
    """Standard normal latents (B, 4, h, w), each row from its own seed, so batches do not change pictures.

    Raises:
        CourseError: a seed is not in 0 … 2³²-1.
    """
    if wrong := [seed for seed in seeds if not 0 <= seed < SEEDS]:
        raise CourseError(f"seed {wrong[0]} is out of range; give a whole number from 0 to {SEEDS - 1}")
    shape = (
        1,
        model.unet.config.in_channels,
        height // model.vae_scale_factor,
        width // model.vae_scale_factor,
    )
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.cat(rows).to(model.device, model.unet.dtype)


def unet_noise(
    model: KolorsModel, sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]
) -> Tensor:
    """One call of the U-Net: predicted noise (B, 4, h, w)."""
    return model.unet(
        sample,
        timestep,
        encoder_hidden_states=conditioning["prompt_embeds"],
        added_cond_kwargs={
            "text_embeds": conditioning["pooled_prompt_embeds"],
            "time_ids": conditioning["add_time_ids"],
        },
        cross_attention_kwargs={"text_bias": conditioning["text_bias"]},
        return_dict=False,
    )[0]


def conditioning_of(prompts: PromptEmbeds, add_time_ids: Tensor) -> dict[str, Tensor]:
    """The tensors that `unet_noise` takes, by name."""
    return {
        "prompt_embeds": prompts.prompt_embeds,
        "pooled_prompt_embeds": prompts.pooled_prompt_embeds,
        "text_bias": prompts.text_bias,
        "add_time_ids": add_time_ids,
    }


def sample_latents(
    model: KolorsModel, prompts: PromptEmbeds, negative: PromptEmbeds, latents: Tensor, sampling: Sampling
) -> Iterator[SamplerState]:
    """Walk one batch from noise to clean latents, yielding every state.

    At a guidance scale of 1 or less `negative` has no part in it.
    """
    factor = model.vae_scale_factor
    ids = time_ids(latents.shape[2] * factor, latents.shape[3] * factor)
    ids = ids.to(latents.device, latents.dtype).expand(len(latents), -1)
    guide = sampling.guidance_scale > 1
    both = join([prompts, negative] if guide else [prompts])
    cond = conditioning_of(both.rows(slice(0, len(prompts))), ids)
    uncond = conditioning_of(both.rows(slice(len(prompts), None)), ids) if guide else None

    def call(sample: Tensor, timestep: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        return unet_noise(model, sample, timestep, conditioning)

    denoise = guided(call, cond, uncond, sampling.guidance_scale)
    return get_sampler(sampling.sampler)(denoise, latents, model.schedule, sampling.steps)


def decode_latents(model: KolorsModel, latents: Tensor) -> list[Image.Image]:
    """Latents (B, 4, h, w) -> pictures.

    Raises:
        CourseError: a pixel is not a finite number; it would come out black without a word.
    """
    pixels = model.vae.decode(latents / model.vae.config.scaling_factor).sample.float()
    if not pixels.isfinite().all():
        raise CourseError(
            "the picture holds numbers that are not finite; load the model in bfloat16 or float32, or use less "
            "guidance or LoRA strength"
        )
    arrays = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def check_size(model: KolorsModel, sampling: Sampling) -> tuple[int, int]:
    """(width, height) to draw at.

    Raises:
        CourseError: a side is not divisible by what VAE and U-Net need.
    """
    width, height = sampling.size or (model.default_size, model.default_size)
    if width % model.size_multiple or height % model.size_multiple or min(width, height) <= 0:
        raise CourseError(
            f"size {width}x{height}: both sides must be positive multiples of {model.size_multiple}"
        )
    return width, height


def generate(
    model: KolorsModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Image.Image]:
    """One picture for each prompt and seed.

    Args:
        prompts, seeds: equally many. A picture depends on its own prompt and seed, not on its neighbours.
        progress: called with the number of pictures finished so far.

    Raises:
        CourseError: sizes that do not fit, unknown sampler, bad number of steps, seed out of range.
    """
    sampling = sampling or Sampling()
    if len(prompts) != len(seeds):
        raise CourseError(f"{len(prompts)} prompts but {len(seeds)} seeds; give one seed for each prompt")
    width, height = check_size(model, sampling)
    pictures: list[Image.Image] = []
    with torch.no_grad():
        empty = encode_prompts(model.tokenizer, model.text_encoder, [sampling.negative_prompt])
        for start in range(0, len(prompts), sampling.batch_size):
            rows = slice(start, start + sampling.batch_size)
            latents = initial_latents(model, seeds[rows], height, width)
            encoded = encode_prompts(model.tokenizer, model.text_encoder, prompts[rows])
            *_, last = sample_latents(model, encoded, empty.rows([0] * len(encoded)), latents, sampling)
            pictures += decode_latents(model, last.sample)
            if progress:
                progress(len(pictures))
    return pictures
