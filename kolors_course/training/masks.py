"""Loss masks: pictures beside the pictures that say which parts are to be learned."""

import os
from pathlib import Path

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from kolors_course.dataset import Dataset, open_picture
from kolors_course.dataset.folders import mask_file
from kolors_course.errors import CourseError
from kolors_course.training.store import content_key


def mask_beside(picture: Path, size: tuple[int, int]) -> Image.Image:
    """The mask of `picture`: cat.jpg has cat-masklabel.png; white is learned, black is ignored, grey lies between.

    A picture without a mask is learned as a whole.

    Args:
        size: (width, height) of the picture, which the mask must have too.

    Raises:
        CourseError: the mask cannot be read or is of another size.
    """
    path = mask_file(picture)
    if not os.path.isfile(path):
        return Image.new("RGB", size, "white")
    mask = open_picture(path)
    if mask.size != size:
        raise CourseError(
            f"{path} is {mask.width}x{mask.height}, but its picture is {size[0]}x{size[1]}; make both the same size"
        )
    return mask


def masks_key(dataset: Dataset) -> str:
    """A hash of the masks of all pictures, in order."""
    files = (mask_file(sample.path) for sample in dataset.samples)
    return content_key(*(file.read_bytes() if os.path.isfile(file) else b"" for file in files))


def latent_mask(pixel_values: Tensor, vae_scale_factor: int, picture: Path) -> Tensor:
    """The share of white (1, h, w), from 0 to 1, in the pixels of each latent cell.

    Args:
        pixel_values: (3, H, W) in [-1, 1], as `prepare_image` gives them.
        picture: named in the complaint.

    Raises:
        CourseError: nothing is left to learn in the part of the picture that is trained on.
    """
    grey = (pixel_values.mean(0, keepdim=True) + 1) / 2
    mask = F.avg_pool2d(grey[None], vae_scale_factor)[0]
    if mask.max() <= 0:
        raise CourseError(
            f"the mask of {picture} is all black after cropping; paint white what is to be learned"
        )
    return mask
