"""Sheets of pictures with labels in Chinese and English."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image, ImageDraw, ImageFont

from kolors_course.errors import CourseError
from kolors_course.platform.fonts import cjk_font_path

PAPER, BLANK, INK, SOFT_INK = "#ffffff", "#f2f4f7", "#1f2430", "#667085"
GAP = 6  # px between pictures, and between a picture and its label
HEADING, TEXT, SMALLEST = 15, 12, 8  # px; the first line of a label is its heading
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
            larger. Labels that are wider than a column are set smaller.

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
    above = _Labels.of(column_labels, columns, "column").fitted(width)
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
    for row, label in enumerate(beside.texts):
        middle = top + row * (height + GAP) + height / 2
        beside.draw(draw, label, left / 2, middle - beside.height_of(label) / 2)
    for column, label in enumerate(above.texts):
        above.draw(draw, label, left + column * (width + GAP) + width / 2, GAP / 2)
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
class _Labels:
    """Centred texts in one typeface; `factor` shrinks the type. Sizes are in px."""

    texts: tuple[str, ...]
    font_file: Path | None
    factor: float = 1.0

    @classmethod
    def of(cls, texts: Sequence[str] | None, wanted: int, kind: str) -> "_Labels":
        texts = tuple(texts or ())
        if texts and len(texts) != wanted:
            raise CourseError(f"{len(texts)} {kind} labels for {wanted} {kind}s; give one for each")
        return cls(texts, cjk_font_path("".join(texts)) if texts else None)

    def fitted(self, width: int) -> "_Labels":
        """The same texts in type that is small enough for `width`."""
        room = (width + GAP) / self.width if self.texts else 1.0
        return self if room >= 1 else _Labels(self.texts, self.font_file, room)

    @property
    def width(self) -> int:
        """Pixels that the widest label takes, with a gap; 0 without labels."""
        lengths = [font.getlength(line) for text in self.texts for line, font in self._lines(text)]
        return round(max(lengths)) + GAP if lengths else 0

    @property
    def height(self) -> int:
        """Pixels that the tallest label takes; 0 without labels."""
        return round(max(map(self.height_of, self.texts), default=0))

    def height_of(self, text: str) -> float:
        return sum(LINE_HEIGHT * font.size for _, font in self._lines(text))

    def draw(self, draw: ImageDraw.ImageDraw, text: str, x: float, y: float) -> None:
        """Draw `text` with the middle of its upper edge at (x, y)."""
        for i, (line, font) in enumerate(self._lines(text)):
            draw.text((x, y + font.size), line, SOFT_INK if i else INK, font, anchor="ms")
            y += LINE_HEIGHT * font.size

    def _lines(self, text: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
        return [(line, self._font(TEXT if i else HEADING)) for i, line in enumerate(text.split("\n"))]

    def _font(self, size: int) -> ImageFont.FreeTypeFont:
        size = max(SMALLEST, int(size * self.factor))
        if self.font_file is None:
            return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))  # so it is for any size
        # The layout engine that every Pillow has: the same sheet on every machine.
        return ImageFont.truetype(str(self.font_file), size, layout_engine=ImageFont.Layout.BASIC)
