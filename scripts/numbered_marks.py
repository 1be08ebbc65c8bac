"""Numbers drawn over a picture, each beside the spot that it is about."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from kolors_course.platform.paths import data_dir

if TYPE_CHECKING:
    from comfyui_hand import Spot

PINK, WHITE = (255, 45, 135), (255, 255, 255)
RADIUS, RING, AWAY, WEIGHT = 13, 8, 25, 3  # pixels: of the disc, of the ring, from one to the other, of lines
FINER = 4  # drawn so many times larger, then made smaller: smooth edges


def draw_marks(picture: Image.Image, spots: Sequence["Spot"]) -> Image.Image:
    """A copy with a ring around each spot, and beside it a disc with its number, from 1 on."""
    marks = Image.new("RGBA", (picture.width * FINER, picture.height * FINER))
    pen = ImageDraw.Draw(marks)
    font = ImageFont.truetype(data_dir() / "fonts" / "NotoSansSC-subset.ttf", 18 * FINER)
    discs: list[Spot] = []
    for number, spot in enumerate(spots, start=1):
        disc = _beside(spot, discs, picture.size)
        discs.append(disc)
        pen.line([FINER * value for value in (*spot, *disc)], fill=PINK, width=WEIGHT * FINER)
        _circle(pen, spot, RING, outline=PINK)
        _circle(pen, disc, RADIUS, fill=PINK, outline=WHITE)
        middle = (FINER * disc[0], FINER * disc[1])
        pen.text(middle, str(number), font=font, fill=WHITE, anchor="mm", stroke_width=2, stroke_fill=WHITE)
    marks = marks.resize(picture.size, Image.Resampling.LANCZOS)
    return Image.alpha_composite(picture.convert("RGBA"), marks).convert("RGB")


def _beside(spot: "Spot", discs: Sequence["Spot"], size: tuple[int, int]) -> "Spot":
    """Where the disc of a spot goes: to its upper left, or else where it is in the picture and on no other disc."""
    ways = ((-AWAY, -AWAY), (-AWAY, AWAY), (AWAY, -AWAY), (AWAY, AWAY))
    places = [(spot[0] + right, spot[1] + down) for right, down in ways]
    return next(
        (
            place
            for place in places
            if all(RADIUS <= value <= side - RADIUS for value, side in zip(place, size, strict=True))
            and all(math.dist(place, disc) > 2 * RADIUS for disc in discs)
        ),
        places[0],
    )


def _circle(pen: ImageDraw.ImageDraw, centre: "Spot", radius: float, **colours: tuple[int, int, int]) -> None:
    edges = [FINER * (value + side * radius) for side in (-1, 1) for value in centre]
    pen.ellipse(edges, width=(WEIGHT - 1) * FINER, **colours)
