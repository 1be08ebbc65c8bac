"""What pages are painted with: boxes, colours, rounded corners, shadows and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from kolors_course.story.typeset import load_font

CORNER, PICTURE_CORNER = 18, 10  # px, as all lengths here
PAPER, CARD, BAND, SHADOW = "#f6eddc", "#fffdf8", "#ede0c8", "#5a4630"
INK, SOFT_INK, SEAL, FRAME = "#33271f", "#7d6b5a", "#b93a26", "#e2d3b8"


@dataclass(frozen=True)
class Box:
    """A rectangle on the page."""

    left: int
    top: int
    width: int
    height: int

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def right(self) -> int:
        return self.left + self.width


def paint_number(page: Image.Image, font: Path, number: int, box: Box) -> None:
    """A seal on the picture's upper left corner."""
    radius = 16
    x, y = box.left + 11, box.top + 11
    fill(page, Box(x - radius - 3, y - radius - 3, 2 * radius + 6, 2 * radius + 6), CARD, radius + 3)
    fill(page, Box(x - radius, y - radius, 2 * radius, 2 * radius), SEAL, radius)
    ImageDraw.Draw(page).text((x, y + 6), str(number), CARD, load_font(font, 18), "ms")


def cast_shadows(page: Image.Image, cards: Sequence[Box]) -> None:
    mask = Image.new("L", page.size)
    for card in cards:
        mask.paste(70, (card.left, card.top + 6), rounded(card.width, card.height, CORNER))
    page.paste(SHADOW, mask=mask.filter(ImageFilter.GaussianBlur(9)))


def fill(page: Image.Image, box: Box, colour: str, radius: int) -> None:
    page.paste(colour, (box.left, box.top, box.right, box.bottom), rounded(box.width, box.height, radius))


def rounded(width: int, height: int, radius: int) -> Image.Image:
    """An L mask of a rounded rectangle; drawn four times as large, so that its corners are smooth."""
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * radius, fill=255)
    return mask.resize((width, height), Image.Resampling.BOX)
