"""A sheet of thumbnails with sizes, captions and warnings: a data set at a glance."""

from collections import defaultdict
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

from kolors_course.dataset.pixels import open_picture
from kolors_course.dataset.reader import Sample
from kolors_course.dataset.report import Report
from kolors_course.errors import CourseError
from kolors_course.platform.fonts import cjk_font_path

PAPER, BLANK, INK, SOFT_INK, WARNING = "#ffffff", "#f2f4f7", "#1f2430", "#667085", "#b54708"
COLUMNS, SIDE, GAP, FRAME = 6, 160, 12, 3  # px, but for the first
FONT_SIZE, LINE = 13, 18  # px
CAPTION_LINES = 2
HEADING_LINES = 2
MOST = 240  # pictures on a sheet: 40 rows


def thumbnail_sheet(report: Report) -> Image.Image:
    """Draw the good pictures of a report, those with a warning first and framed, at most `MOST` of them.

    Returns:
        An RGB picture.

    Raises:
        CourseError: there is no good picture, or one can no longer be read.
    """
    if not report.samples:
        raise CourseError(f"no picture of {report.folder} can be read, so there is no sheet to draw")
    cells = _cells(report)
    shown = cells[:MOST]
    pen = _Pen.for_text("".join(cell.caption for cell in shown) + report.folder)
    cell_height = SIDE + GAP + LINE * (2 + CAPTION_LINES)
    rows = -(-len(shown) // COLUMNS)
    top = GAP + LINE * HEADING_LINES + GAP
    sheet = Image.new("RGB", (GAP + COLUMNS * (SIDE + GAP), top + rows * cell_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _heading(draw, pen, report, len(cells), len(shown), sheet.width - 2 * GAP)
    for i, cell in enumerate(shown):
        left, upper = GAP + i % COLUMNS * (SIDE + GAP), top + i // COLUMNS * cell_height
        _draw_cell(sheet, draw, pen, cell, left, upper)
    return sheet


@dataclass(frozen=True)
class _Cell:
    sample: Sample
    name: str
    topics: tuple[str, ...]

    @property
    def caption(self) -> str:
        return " ".join(self.sample.text.split())


def _cells(report: Report) -> list[_Cell]:
    """Those with warnings first, in the order of the warnings, so that pictures that look alike meet."""
    topics: dict[str, list[str]] = defaultdict(list)
    for finding in report.findings:
        for name in finding.pictures:
            if finding.topic not in topics[name]:
                topics[name].append(finding.topic)
    cells = [_Cell(sample, name, tuple(topics.get(name, ()))) for name, sample in report.samples.items()]
    order = {name: place for place, name in enumerate(topics)}
    return sorted(cells, key=lambda cell: order.get(cell.name, len(order)))


@dataclass(frozen=True)
class _Pen:
    """One font, and cutting lines to a width in px."""

    font: ImageFont.FreeTypeFont | ImageFont.ImageFont

    @classmethod
    def for_text(cls, text: str) -> "_Pen":
        file = cjk_font_path(text)
        if file is None:
            return cls(ImageFont.load_default(FONT_SIZE))
        # The layout engine that every Pillow has: the same sheet on every machine.
        return cls(ImageFont.truetype(str(file), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC))

    def lines(self, text: str, width: int, most: int) -> list[str]:
        """`text` in at most `most` lines; what does not fit ends in an ellipsis."""
        lines: list[str] = []
        while text and len(lines) < most:
            last = len(lines) == most - 1
            length = self._fitting(text, width)
            if length < len(text) and last:
                lines.append(text[: self._fitting(text, width - int(self.font.getlength("…")))] + "…")
                break
            if length < len(text) and " " in text[1 : length + 1]:
                length = text.rindex(" ", 1, length + 1)
            lines.append(text[:length].strip())
            text = text[length:].strip()
        return lines

    def _fitting(self, text: str, width: int) -> int:
        """How many characters of `text` fit, at least one."""
        length = 1
        while length < len(text) and self.font.getlength(text[: length + 1]) <= width:
            length += 1
        return length

    def write(self, draw: ImageDraw.ImageDraw, left: int, top: int, line: str, colour: str) -> None:
        draw.text((left, top + FONT_SIZE), line, colour, self.font, anchor="ls")


def _heading(
    draw: ImageDraw.ImageDraw, pen: _Pen, report: Report, total: int, shown: int, width: int
) -> None:
    count = f"{total} pictures" if shown == total else f"{shown} of {total} pictures"
    bad = f", {len(report.problems)} errors" if report.problems else ""
    lines = (f"{report.folder}: {count}, {len(report.warnings)} warnings{bad}", _widest(report))
    for i, (line, colour) in enumerate(zip(lines, (INK, SOFT_INK), strict=True)):
        (cut,) = pen.lines(line, width, 1)
        pen.write(draw, GAP, GAP + i * LINE, cut, colour)


def _widest(report: Report) -> str:
    named = report.buckets or report.sizes
    what = "buckets" if report.buckets else "sizes"
    return f"{what}: " + ", ".join(f"{size} ({count})" for size, count in named.items())


def _draw_cell(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, pen: _Pen, cell: _Cell, left: int, top: int
) -> None:
    thumbnail = ImageOps.contain(open_picture(cell.sample.path), (SIDE, SIDE), Image.Resampling.BICUBIC)
    draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=BLANK)
    sheet.paste(thumbnail, (left + (SIDE - thumbnail.width) // 2, top + (SIDE - thumbnail.height) // 2))
    if cell.topics:
        box = (left - FRAME, top - FRAME, left + SIDE - 1 + FRAME, top + SIDE - 1 + FRAME)
        draw.rectangle(box, outline=WARNING, width=FRAME)
    size = "{}x{}".format(*cell.sample.size)
    name, *_ = pen.lines(cell.name, SIDE - int(pen.font.getlength(f"  {size}")), 1)
    about = ", ".join(cell.topics)
    texts = [(f"{name}  {size}", INK)]
    texts += [(line, WARNING) for line in pen.lines(about, SIDE, 1)]
    texts += [(line, SOFT_INK) for line in pen.lines(cell.caption, SIDE, 1 + CAPTION_LINES - bool(about))]
    for i, (line, colour) in enumerate(texts):
        pen.write(draw, left, top + SIDE + FRAME + i * LINE, line, colour)
