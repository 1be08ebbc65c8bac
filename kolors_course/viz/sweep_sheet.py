"""The picture sheet of a sweep, an X/Y/Z plot: labelled rows and columns, blocks for the third axis."""

from collections.abc import Sequence
from typing import cast

from PIL import Image, ImageDraw, ImageFont

from kolors_course.errors import CourseError, brief
from kolors_course.platform.fonts import cjk_font_path
from kolors_course.story.typeset import BASELINE, line_height, load_font, wrap
from kolors_course.sweep.axes import Axis
from kolors_course.viz.figures import GAP, INK, PAPER, SOFT_INK, TextLine, picture_grid

MARGIN = 14  # px
TITLE, BLOCK, NOTE = 18, 16, 13  # px of type
ROOM = 256  # px that small pictures are enlarged to, by whole factors
LONGEST = 12_000  # px of the pictures beside or below each other; larger sheets are shrunk to it
LABEL = 28  # characters


def sweep_sheet(
    axes: Sequence[Axis], pictures: Sequence[Image.Image], title: str = "", note: str = ""
) -> Image.Image:
    """Pictures of all cells: the first axis from left to right, the second downwards, the third in blocks.

    Args:
        axes: one to three.
        pictures: of one size, a cell each, the first axis changing fastest.
        title: what stands above, such as the prompt; `note` below it in small type.

    Returns:
        An RGB sheet on white.

    Raises:
        CourseError: more than three axes, pictures of different sizes, or not one for each cell.
    """
    if not 1 <= len(axes) <= 3:
        raise CourseError(f"a sheet has one to three axes, not {len(axes)}")
    columns, rows, blocks = ([len(axis.values) for axis in axes] + [1, 1])[:3]
    if len(pictures) != columns * rows * blocks:
        raise CourseError(f"{len(pictures)} pictures for {columns * rows * blocks} cells; give one for each")
    sized = _sized(pictures, columns, rows * blocks)
    across, down = _labels(axes[0]), _labels(axes[1]) if len(axes) > 1 else None
    size = columns * rows
    grids = [
        picture_grid(sized[i * size : (i + 1) * size], columns, row_labels=down, column_labels=across)
        for i in range(blocks)
    ]
    names = [f"{axes[2].title} = {_short(axes[2], value)}" for value in axes[2].values] if axes[2:] else [""]
    return _page(grids, names, title, note)


def _labels(axis: Axis) -> list[str]:
    """Each value in large type, and what it is a value of, in both languages, in small type below.

    A word of the prompt needs no such name.
    """
    name = "" if axis.name == "word" else f"\n{axis.title}"
    return [_short(axis, value) + name for value in axis.values]


def _short(axis: Axis, value: float | str) -> str:
    return brief(axis.label(value), LABEL)


def _sized(pictures: Sequence[Image.Image], columns: int, rows: int) -> list[Image.Image]:
    """Small pictures enlarged, too many or too large ones shrunk."""
    width, height = pictures[0].size
    most = min(LONGEST / (columns * width), LONGEST / (rows * height))
    factor = min(most, max(1, ROOM // max(width, height)))
    factor = int(factor) if factor >= 1 else factor
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return [p if p.size != (width, height) else p.resize(size, Image.Resampling.LANCZOS) for p in pictures]


def _page(grids: Sequence[Image.Image], names: Sequence[str], title: str, note: str) -> Image.Image:
    """Title and note, then each block below its name."""
    file = cjk_font_path("".join([title, note, *names]))

    def lines(text: str, size: int, colour: str) -> list[TextLine]:
        # The default font is one of this type for any size.
        font = load_font(file, size) if file else cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
        return [TextLine(line, font, colour) for line in (wrap(text, font, width) if text else ())]

    width = max(grid.width for grid in grids)
    parts: list[TextLine | Image.Image] = [*lines(title, TITLE, INK), *lines(note, NOTE, SOFT_INK)]
    for grid, name in zip(grids, names, strict=True):
        parts += [*lines(name, BLOCK, INK), grid]
    heights = [line_height(part.font) if isinstance(part, TextLine) else part.height for part in parts]
    page = Image.new("RGB", (width + 2 * MARGIN, sum(heights) + GAP * len(parts) + 2 * MARGIN), PAPER)
    draw, top = ImageDraw.Draw(page), MARGIN
    for part, height in zip(parts, heights, strict=True):
        if isinstance(part, TextLine):
            baseline = top + round(BASELINE * part.font.size)
            draw.text((MARGIN, baseline), part.text, part.colour, part.font, "ls")
        else:
            page.paste(part, (MARGIN, top))
        top += height + GAP
    return page
