"""Pictures into latents and back, and a quick look at latents on the way."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel

PREVIEW_CELLS = 32


def encode_pictures(model: KolorsModel, pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures of one size -> latents (B, C, h, w), the means of the VAE's codes; undone by `decode_latents`."""
    return vae_encode(model, pictures) * model.vae.config.scaling_factor


def decode_latents(model: KolorsModel, latents: Tensor) -> list[Image.Image]:
    """Latents (B, C, h, w) -> pictures.

    Raises:
        CourseError: a pixel is not a finite number; it would come out black without a word.
    """
    return vae_decode(model, latents / model.vae.config.scaling_factor)


def vae_encode(model: KolorsModel, pictures: Sequence[Image.Image]) -> Tensor:
    """`encode_pictures` in the VAE's own scale."""
    arrays = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return vae_encode_pixels(model, torch.from_numpy(arrays).permute(0, 3, 1, 2))


@torch.no_grad()
def vae_encode_pixels(model: KolorsModel, pixels: Tensor) -> Tensor:
    """`vae_encode` of pixels (B, 3, H, W) in 0 … 255."""
    # In rows like all other latents: convolutions round differently where colours lie side by side.
    pixels = pixels.contiguous().to(model.vae.device, model.vae.dtype)
    return model.vae.encode(pixels / 127.5 - 1).latent_dist.mean


@torch.no_grad()
def vae_decode(model: KolorsModel, latents: Tensor) -> list[Image.Image]:
    """`decode_latents` in the VAE's own scale."""
    pixels = model.vae.decode(latents).sample.float()
    if not pixels.isfinite().all():
        raise CourseError(
            "the picture holds numbers that are not finite; load the model in bfloat16 or float32, or use less "
            "guidance or LoRA strength"
        )
    arrays = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def preview_picture(model: KolorsModel, latents: Tensor) -> Image.Image:
    """What one latent (C, h, w) looks like: exact up to 32 cells a side, above that decoded from averaged cells.

    The averages make it cheap beside a step of the U-Net; a quarter of the side costs a sixteenth.
    """
    factor = -(-max(latents.shape[1:]) // PREVIEW_CELLS)
    return decode_latents(model, avg_pool2d(latents[None], factor, ceil_mode=True))[0]
