"""Sheets of pictures with labels in Chinese and English."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image, ImageDraw, ImageFont

from kolors_course.errors import CourseError
from kolors_course.platform.fonts import cjk_font_path
from kolors_course.story.typeset import load_font, wrap

PAPER, BLANK, INK, SOFT_INK = "#ffffff", "#f2f4f7", "#1f2430", "#667085"
GAP = 6  # px between pictures, and between a picture and its label
HEADING, TEXT = 15, 12  # px; the first line of a label is its heading
LINE_HEIGHT = 1.35


def picture_grid(
    pictures: Sequence[Image.Image | None],
    columns: int,
    *,
    scale: int = 1,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> Image.Image:
    """Lay pictures out row by row, with labels on the left and above.

    Args:
        pictures: all of one size; None leaves a grey cell.
        columns: pictures in a row.
        scale: how many times each picture is enlarged (bicubic).
        row_labels, column_labels: one text for each row or column. Newlines break it; its first line is drawn
            larger. Headings wider than their column are set as small as text, and what is still wider is broken.

    Returns:
        An RGB sheet on white.

    Raises:
        CourseError: no pictures, pictures of different sizes, `columns` or `scale` below 1, or a wrong number of
            labels.
    """
    if min(scale, columns) < 1:
        raise CourseError(f"scale {scale} and {columns} columns: both must be at least 1")
    width, height = (scale * side for side in _common_size(pictures))
    rows = -(-len(pictures) // columns)
    beside = _Labels.of(row_labels, rows, "row")
    above = _Labels.of(column_labels, columns, "column", room=width)
    left, top = GAP + beside.width, GAP + above.height
    size = (left + columns * (width + GAP), top + rows * (height + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, picture in enumerate(pictures):
        corner = left + i % columns * (width + GAP), top + i // columns * (height + GAP)
        if picture is None:
            draw.rectangle((*corner, corner[0] + width - 1, corner[1] + height - 1), fill=BLANK)
        else:
            enlarged = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            sheet.paste(enlarged, corner)
    for row in range(len(beside.texts)):
        middle = top + row * (height + GAP) + height / 2
        beside.draw(draw, row, left / 2, middle - beside.height_of(row) / 2)
    for column in range(len(above.texts)):
        above.draw(draw, column, left + column * (width + GAP) + width / 2, GAP / 2)
    return sheet


def stack(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets one below the other, aligned on the right, on white."""
    width = max(sheet.width for sheet in sheets)
    page = Image.new("RGB", (width, sum(sheet.height for sheet in sheets)), PAPER)
    top = 0
    for sheet in sheets:
        page.paste(sheet, (width - sheet.width, top))
        top += sheet.height
    return page


def _common_size(pictures: Sequence[Image.Image | None]) -> tuple[int, int]:
    sizes = {i: picture.size for i, picture in enumerate(pictures) if picture is not None}
    if not sizes:
        raise CourseError("a picture grid needs at least one picture")
    first, size = next(iter(sizes.items()))
    for i, other in sizes.items():
        if other != size:
            raise CourseError(
                f"picture {i} has {other[0]}x{other[1]} px, but picture {first} has {size[0]}x{size[1]}; "
                f"resize them to one size"
            )
    return size


@dataclass(frozen=True)
class TextLine:
    """A line of text, and how it is set."""

    text: str
    font: ImageFont.FreeTypeFont
    colour: str

    @property
    def width(self) -> float:
        return self.font.getlength(self.text)

    @property
    def height(self) -> float:
        return LINE_HEIGHT * self.font.size


@dataclass(frozen=True)
class _Labels:
    """Centred texts. Sizes are in px."""

    texts: tuple[tuple[TextLine, ...], ...]

    @classmethod
    def of(cls, texts: Sequence[str] | None, wanted: int, kind: str, room: int | None = None) -> "_Labels":
        """Labels as wide as they come, or that fit over `room`."""
        if texts and len(texts) != wanted:
            raise CourseError(f"{len(texts)} {kind} labels for {wanted} {kind}s; give one for each")
        if not texts:
            return cls(())
        file = cjk_font_path("".join(texts))
        small, large = _font(file, TEXT), _font(file, HEADING)
        if room:
            widest = max(large.getlength(text.split("\n")[0]) for text in texts)
            large = _font(file, max(TEXT, int(HEADING * min(1, room / widest))))
        return cls(tuple(tuple(_lines(text, large, small, room)) for text in texts))

    @property
    def width(self) -> int:
        """Pixels that the widest label takes, with a gap; 0 without labels."""
        return round(max(line.width for text in self.texts for line in text)) + GAP if self.texts else 0

    @property
    def height(self) -> int:
        """Pixels that the tallest label takes; 0 without labels."""
        return round(max(map(self.height_of, range(len(self.texts))), default=0))

    def height_of(self, i: int) -> float:
        return sum(line.height for line in self.texts[i])

    def draw(self, draw: ImageDraw.ImageDraw, i: int, x: float, y: float) -> None:
        """Draw the i-th with the middle of its upper edge at (x, y)."""
        for line in self.texts[i]:
            draw.text((x, y + line.font.size), line.text, line.colour, line.font, anchor="ms")
            y += line.height


def _lines(
    text: str, heading: ImageFont.FreeTypeFont, small: ImageFont.FreeTypeFont, room: int | None
) -> Iterator[TextLine]:
    for i, line in enumerate(text.split("\n")):
        font, colour = (small, SOFT_INK) if i else (heading, INK)
        yield from (TextLine(part, font, colour) for part in (wrap(line, font, room) if room else (line,)))


def _font(file: Path | None, size: int) -> ImageFont.FreeTypeFont:
    # The default font is one of this type for any size.
    return load_font(file, size) if file else cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
