"""Numbers drawn over a picture, each beside the spot that it is about."""

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
    for number, (x, y) in enumerate(spots, start=1):
        # to the upper left, or to where there is room
        left = x + (AWAY if x < AWAY + RADIUS else -AWAY)
        top = y + (AWAY if y < AWAY + RADIUS else -AWAY)
        scaled = [FINER * value for value in (x, y, left, top)]
        pen.line(scaled, fill=PINK, width=WEIGHT * FINER)
        _disc(pen, (x, y), RING, outline=PINK)
        _disc(pen, (left, top), RADIUS, fill=PINK, outline=WHITE)
        pen.text(scaled[2:], str(number), font=font, fill=WHITE, anchor="mm", stroke_width=2, stroke_fill=WHITE)
    marks = marks.resize(picture.size, Image.Resampling.LANCZOS)
    return Image.alpha_composite(picture.convert("RGBA"), marks).convert("RGB")


def _disc(pen: ImageDraw.ImageDraw, centre: "Spot", radius: float, **colours: tuple[int, int, int]) -> None:
    edges = [FINER * (value + side * radius) for side in (-1, 1) for value in centre]
    pen.ellipse(edges, width=(WEIGHT - 1) * FINER, **colours)
