"""Inpainting: draw a hole in a picture anew and keep the rest, with any model or with one that was made for it.

A U-Net made for it (Kwai's Kolors-Inpainting) has nine channels instead of four: noisy latents, the hole, and the
latents of the picture with the hole in grey. Any other draws all, and is told the truth outside the hole
(`kolors_course.diffusion.inpainting`).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from kolors_course.dataset.pixels import cover_picture
from kolors_course.errors import CourseError
from kolors_course.kolors.latents import encode_pictures, vae_encode_pixels
from kolors_course.kolors.model import KolorsModel

GREY = 127.5  # of a pixel: 0 of the VAE's -1 … 1
SAME_SHAPE = 0.01  # how much two ratios of width to height may differ


@dataclass(frozen=True, eq=False)
class Hole:
    """A picture and what of it is drawn anew, ready for a model.

    Attributes:
        picture: the picture at the size that is drawn.
        mask: grey, of that size: 255 is drawn, 0 kept, between both is a mixture.
        cells: (1, 1, h, w) in 0 … 1: the mean of the mask in each latent cell.
        known: latents (1, C, h, w) of the picture.
        channels: (1, 1 + C, h, w) what a U-Net made for inpainting sees besides the noisy latents; None for others.
    """

    picture: Image.Image
    mask: Image.Image
    cells: Tensor
    known: Tensor
    channels: Tensor | None

    def start(self, denoise: float) -> Tensor:
        """(1, C, h, w) what drawing starts from: with all of the noise the hole is empty, else as it was."""
        return self.known if denoise < 1 else self.known * (1 - self.cells)

    def paste(self, drawn: Image.Image) -> Image.Image:
        """The drawn picture in the hole and the given one around it, to the pixel."""
        return Image.composite(drawn, self.picture, self.mask)


def made_for_inpainting(model: KolorsModel) -> bool:
    """Whether the U-Net takes a hole and the picture around it, besides noisy latents."""
    channels = model.latent_channels
    return model.unet.config.in_channels == 2 * channels + 1


def check_channels(model: KolorsModel, with_hole: bool) -> None:
    """Refuse a U-Net that cannot draw what is asked for.

    Raises:
        CourseError: it is made for inpainting and there is no hole, or it takes another number of channels.
    """
    taken, channels = model.unet.config.in_channels, model.latent_channels
    if made_for_inpainting(model):
        if not with_hole:
            raise CourseError(
                f"{model.name} is made for inpainting: give a picture and a mask, or take another model"
            )
    elif taken != channels:
        raise CourseError(
            f"the U-Net of {model.name} takes {taken} channels, and its latents have {channels}; take another model"
        )


@torch.no_grad()
def cut_hole(model: KolorsModel, picture: Image.Image, mask: Image.Image, size: tuple[int, int]) -> Hole:
    """A hole in a picture; both are scaled to cover `size` (width, height) and cropped in the middle.

    Args:
        mask: white is drawn anew, black kept, grey mixed.

    Raises:
        CourseError: the mask has another shape than the picture, or nothing white.
    """
    ratios = [image.width / image.height for image in (picture, mask)]
    if abs(ratios[0] / ratios[1] - 1) > SAME_SHAPE:
        shapes = " and ".join(f"{image.width}x{image.height}" for image in (picture, mask))
        raise CourseError(f"picture and mask have different shapes ({shapes}); paint the mask on the picture")
    picture, mask = cover_picture(picture, *size), cover_picture(mask, *size).convert("L")
    if not mask.getbbox():
        raise CourseError("the mask is all black, so nothing would be drawn; paint white what is drawn anew")
    grey = torch.from_numpy(np.asarray(mask, np.float32) / 255)[None, None]
    cells = F.avg_pool2d(grey, model.vae_scale_factor).to(model.device, model.unet.dtype)
    known = encode_pictures(model, [picture]).to(model.unet.dtype)
    channels = _channels(model, picture, mask) if made_for_inpainting(model) else None
    return Hole(picture, mask, cells, known, channels)


def _channels(model: KolorsModel, picture: Image.Image, mask: Image.Image) -> Tensor:
    """Hole and surroundings as diffusers' and Kwai's inpainting pipelines hand them over: nothing between 0 and 1."""
    hole = np.asarray(mask) >= 128
    masked = np.where(hole[..., None], np.float32(GREY), np.asarray(picture, np.float32))
    pixels = torch.from_numpy(masked).permute(2, 0, 1)[None]
    latents = vae_encode_pixels(model, pixels) * model.vae.config.scaling_factor
    cells = F.interpolate(torch.from_numpy(hole)[None, None].float(), size=latents.shape[2:])
    return torch.cat([cells.to(latents), latents], dim=1).to(model.unet.dtype)
