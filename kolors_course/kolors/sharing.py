"""Shared self-attention: the pictures of a batch look at one another, so that one heroine walks through all of them.

A picture's self-attention gathers values V of its own rows, by how well their keys K answer its queries Q. When it is
shared, the rows of other pictures stand behind its own (StyleAligned, arXiv 2312.02133, section 3.2; StoryDiffusion,
arXiv 2405.01434, section 3.1):

    softmax([Q Kᵀ, Q K'ᵀ + log w]/√d …) [V; V']

The weight w says how much a row of another picture counts beside an own one, as a word's weight does in a prompt:
exp(s + log w) = w·exp(s). w = 0 shares nothing. StoryDiffusion takes a random half of the other rows instead, which
w = 1/2 does on average and without chance.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor

from kolors_course.dataset.pixels import cover_picture
from kolors_course.diffusion import get_sampler
from kolors_course.errors import CourseError
from kolors_course.kolors.compact import TextBiasAttnProcessor, attention
from kolors_course.kolors.latents import decode_latents, encode_pictures
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.sampling import check_drawing, initial_latents, prompt_denoiser
from kolors_course.kolors.settings import Sampling
from kolors_course.kolors.stages import encode_stages

BLOCKS = ("down", "mid", "up")


@dataclass(frozen=True)
class Sharing:
    """How pictures look at one another.

    Attributes:
        weight: w, from 0 (not at all) to 1 (as much as at themselves).
        bank: only the first so many pictures are looked at; None for all. StyleAligned has 1, StoryDiffusion 4.
        blocks: in which parts of the U-Net. StoryDiffusion shares in the up blocks alone, StyleAligned everywhere.
        normalise: give queries and keys of a picture mean and spread of the first picture's, as StyleAligned does
            (adaptive instance normalisation, arXiv 1703.06868, eq. 8).

    Raises:
        CourseError: a weight outside 0 … 1, a bank of no pictures, an unknown block.
    """

    weight: float = 0.5
    bank: int | None = None
    blocks: tuple[str, ...] = ("up",)
    normalise: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise CourseError(f"shared attention: weight {self.weight:g} is not from 0 to 1")
        if self.bank is not None and self.bank < 1:
            raise CourseError(f"shared attention: a bank of {self.bank} pictures; give 1 or more")
        if unknown := [block for block in self.blocks if block not in BLOCKS]:
            raise CourseError(f"shared attention: block '{unknown[0]}' is not one of {', '.join(BLOCKS)}")


class SharedAttnProcessor(TextBiasAttnProcessor):
    """Self-attention in which the `pictures` of a batch look at one another. Rows of a batch are halves of guidance,
    and in each half the pictures: they look at others of their own half."""

    def __init__(self, pictures: int, sharing: Sharing, masks: Tensor | None = None):
        self.pictures, self.sharing, self.masks = pictures, sharing, masks

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """As in the plain processor; shapes (halves · pictures, heads, rows, channels).

        Raises:
            CourseError: the batch is not of so many pictures.
        """
        if len(query) % self.pictures:
            raise CourseError(
                f"attention is shared by {self.pictures} pictures, but they are not drawn in one batch; give a batch "
                f"size of {self.pictures}"
            )
        if self.sharing.normalise:
            query, key = (like_first(x, self.pictures) for x in (query, key))
        return attention(query, self._gather(key), self._gather(value), self._bias(query))

    def _gather(self, x: Tensor) -> Tensor:
        """The rows that every picture sees: those of the bank one after another, then its own."""
        halves = x.unflatten(0, (-1, self.pictures))
        bank = (
            halves[:, : self.sharing.bank].transpose(1, 2).flatten(2, 3)
        )  # (halves, heads, bank · rows, channels)
        return torch.cat([bank.repeat_interleave(self.pictures, dim=0), x], dim=2)

    def _bias(self, query: Tensor) -> Tensor:
        """log w on the rows of the bank that are seen, but for a picture's own, which would count twice: (halves ·
        pictures, 1, 1, all rows)."""
        rows, bank = query.shape[2], min(self.sharing.bank or self.pictures, self.pictures)
        seen = query.new_ones(bank, rows) if self.masks is None else self._mask_of(rows)[:bank].to(query)
        others = 1 - torch.eye(self.pictures, bank, dtype=query.dtype, device=query.device)
        weights = (self.sharing.weight * others[:, :, None] * seen).flatten(1)
        bias = torch.cat([weights, weights.new_ones(self.pictures, rows)], dim=1).log()
        return bias.repeat(len(query) // self.pictures, 1)[:, None, None]

    def _mask_of(self, rows: int) -> Tensor:
        """The masks on a layer's own grid, (pictures, rows)."""
        assert self.masks is not None
        height, width = self.masks.shape[1:]
        shrink = (height * width / rows) ** 0.5
        size = round(height / shrink), round(width / shrink)
        return F.interpolate(self.masks[:, None].float(), size, mode="area").flatten(1)


def like_first(x: Tensor, pictures: int) -> Tensor:
    """Queries or keys (halves · pictures, heads, rows, channels) with mean and spread over the rows of those of the
    first picture in their half: AdaIN(x, first)."""
    spread, mean = torch.std_mean(x, dim=2, keepdim=True)
    first_spread, first_mean = (
        part[::pictures].repeat_interleave(pictures, dim=0) for part in (spread, mean)
    )
    return (x - mean) / (spread + 1e-5) * first_spread + first_mean


@contextmanager
def shared_attention(
    unet: UNet2DConditionModel, pictures: int, sharing: Sharing | None = None, masks: Tensor | None = None
) -> Iterator[None]:
    """Within this context the `pictures` that are drawn together look at one another in self-attention.

    Give `generate` a batch size of `pictures`.

    Args:
        masks: (pictures, h, w) in 0..1, what of each picture the others see, such as the place of its subject; None
            for all. The idea is ConsiStory's (arXiv 2402.03286, section 3.1), which finds its masks while it draws.

    Raises:
        CourseError: no pictures, or not a mask for each.
    """
    sharing = sharing or Sharing()
    if pictures < 1:
        raise CourseError(f"shared attention: {pictures} pictures; give 1 or more")
    if masks is not None and (masks.ndim != 3 or len(masks) != pictures):
        raise CourseError(
            f"shared attention: masks {tuple(masks.shape)} for {pictures} pictures; give one for each"
        )
    before = dict(unet.attn_processors)
    if sharing.weight:
        shared = SharedAttnProcessor(pictures, sharing, masks)
        parts = tuple(f"{block}_block" for block in sharing.blocks)
        unet.set_attn_processor(
            {
                name: shared if ".attn1." in name and name.startswith(parts) else p
                for name, p in before.items()
            }
        )
    try:
        yield
    finally:
        unet.set_attn_processor(before)


def draw_beside(
    model: KolorsModel,
    reference: Image.Image,
    reference_prompt: str,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling,
    sharing: Sharing,
) -> list[Image.Image]:
    """Pictures that look at one that is already there, such as a portrait of their heroine, while they are drawn.

    The reference is the first picture of the batch. It is not drawn: at every step it is brought anew to the noise of
    that step, so that its keys and values are those of a true picture ("reference only" of ControlNet's web UI).

    Args:
        reference_prompt: what the reference shows.
        prompts, seeds: of the pictures, equally many; they are one batch.
        sharing: with a bank of 1, they look at the reference alone.

    Raises:
        CourseError: see `generate`.
    """
    size = check_drawing(model, sampling, len(prompts) + 1)
    with torch.no_grad(), shared_attention(model.unet, len(prompts) + 1, sharing):
        clean = encode_pictures(model, [cover_picture(reference, *size)])
        encoded = encode_stages(model.tokenizer, model.text_encoder, [reference_prompt, *prompts])
        negative = encode_stages(model.tokenizer, model.text_encoder, [sampling.negative_prompt])
        negative = negative.rows([0] * len(encoded))
        noise = initial_latents(model, [seeds[0], *seeds], size[1], size[0])
        height, width = noise.shape[2:]
        denoise = prompt_denoiser(model, encoded, negative, sampling, (height, width))

        def beside(sample: Tensor, timestep: Tensor) -> Tensor:
            σ = model.schedule.sigma(timestep)
            noisy = (clean + σ * noise[:1]) / (σ**2 + 1) ** 0.5
            return denoise(torch.cat([noisy.to(sample.dtype), sample[1:]]), timestep)

        sampler = get_sampler(sampling.sampler, spacing=sampling.spacing)
        *_, last = sampler(beside, noise, model.schedule, sampling.steps)
        return decode_latents(model, last.sample)[1:]
