"""Chinese and English text in boxes: finding a font, breaking lines, drawing."""

import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import ImageDraw, ImageFont

from kolors_course.errors import CourseError
from kolors_course.platform.fonts import cjk_font_path, missing_characters

NOT_FIRST = set("，。！？；：、）》」』】”’…—,.!?;:)]}%")  # may not begin a line
NOT_LAST = set("（《「『【“‘([{")  # may not end a line
# In parts of the font size. Hanzi reach 0.88 above the baseline, Latin tails 0.29 below it.
LINE_HEIGHT, BASELINE = 1.4, 1.05
OVERHANG = 1  # px by which ink may stand out at either end of a line's length
BALANCE = 4  # lines are made equally long to within this many px


def font_file(text: str) -> Path:
    """A font that can draw every character of `text`: the course's own, or else one of the machine's.

    Raises:
        CourseError: no font draws Chinese, or none draws all of `text`.
    """
    file = cjk_font_path(text)
    if file is None:
        raise CourseError("no font with Chinese characters; restore data/fonts/NotoSansSC-subset.ttf")
    missing = missing_characters(file, text)
    if missing:
        named = ", ".join(f"'{character}' (U+{ord(character):04X})" for character in missing[:5])
        raise CourseError(
            f"no font here draws {named}; use other words, or install a font with them (for example Noto Sans CJK)"
        )
    return file


def load_font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    """`file` at `size` px, with the layout engine that every Pillow has: the same page on every machine."""
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


@dataclass(frozen=True)
class TextBox:
    """Centred lines of text at a place on the page; all numbers in px. Ink stays inside the box."""

    lines: tuple[str, ...]
    font: ImageFont.FreeTypeFont
    colour: str
    left: int
    top: int
    width: int

    @property
    def bottom(self) -> int:
        return self.top + len(self.lines) * line_height(self.font)

    def draw(self, draw: ImageDraw.ImageDraw) -> None:
        for i, line in enumerate(self.lines):
            baseline = self.top + i * line_height(self.font) + round(BASELINE * self.font.size)
            draw.text((self.left + self.width / 2, baseline), line, self.colour, self.font, "ms")


def line_height(font: ImageFont.FreeTypeFont) -> int:
    return round(LINE_HEIGHT * font.size)


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> tuple[str, ...]:
    """Break `text` into lines of at most `width` px, as few as possible and then equally long.

    Lines break at spaces and between Chinese characters, never before a comma or after an opening bracket;
    a word wider than the line is cut.
    """
    width -= 2 * OVERHANG
    pieces = _pieces("".join(c for c in " ".join(text.split()) if c.isprintable()))
    lines = _fill(pieces, font, width)
    too_narrow = 0
    while len(lines) > 1 and width - too_narrow > BALANCE:
        middle = (too_narrow + width) // 2
        narrower = _fill(pieces, font, middle)
        if len(narrower) > len(lines):
            too_narrow = middle
        else:
            lines, width = narrower, middle
    return tuple(lines)


def _fill(pieces: list[str], font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for piece in pieces:
        if font.getlength((lines[-1] + piece).rstrip()) <= width:
            lines[-1] += piece
            continue
        lines.append("")
        for character in piece:
            if lines[-1] and font.getlength(lines[-1] + character) > width and character != " ":
                lines.append("")
            lines[-1] += character
    return [line.strip() for line in lines if line.strip()]


def _pieces(text: str) -> list[str]:
    """Cut `text` wherever a line may end."""
    pieces = [text[:1]]
    for before, after in pairwise(text):
        if _may_break(before, after):
            pieces.append(after)
        else:
            pieces[-1] += after
    return pieces


def _may_break(before: str, after: str) -> bool:
    if after == " " or after in NOT_FIRST or before in NOT_LAST:
        return False
    return before == " " or _is_wide(before) or _is_wide(after)


def _is_wide(character: str) -> bool:
    """Chinese characters and full-width punctuation."""
    return unicodedata.east_asian_width(character) in "WF"
