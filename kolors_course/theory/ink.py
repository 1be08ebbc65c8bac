"""A written word as a cloud of points: data with strokes, corners and holes, and no formula."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.platform.fonts import cjk_font_path

_PIXELS = 128  # height of a letter in the picture that the points are drawn from


def ink(text: str, count: int, generator: torch.Generator) -> Tensor:
    """Points (count, 2), spread evenly over the ink of `text`; its longer side runs from -1.8 to 1.8.

    Raises:
        CourseError: no font can draw the text, or there is no ink in it.
    """
    font = cjk_font_path(text)
    if font is None:
        raise CourseError("no font draws Chinese here; restore the course's data/fonts folder")
    typeface = ImageFont.truetype(str(font), _PIXELS)
    _, _, right, bottom = map(int, typeface.getbbox(text))
    page = Image.new("L", (max(right, 1), max(bottom, 1)))
    ImageDraw.Draw(page).text((0, 0), text, fill=255, font=typeface)
    ink = torch.from_numpy(np.array(page)).float()
    if not ink.any():
        raise CourseError(f"there is no ink in {text!r}; give a word or a character")
    pixel = torch.multinomial(ink.flatten(), count, replacement=True, generator=generator)
    column, row = pixel % page.width, pixel // page.width
    points = torch.stack([column, row], dim=1) + torch.rand(count, 2, generator=generator)
    rows, columns = ink.nonzero().T
    first = torch.stack([columns.min(), rows.min()])
    size = torch.stack([columns.max(), rows.max()]) + 1 - first
    scale = 3.6 / size.max()
    return (points - first - size / 2) * torch.stack([scale, -scale])  # pictures count rows from the top
