"""A picture with its captions below, one on each leaf: what a scroll (连环画), a film and a book are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from kolors_course.story.paint import CARD, FRAME, INK, PAPER, PICTURE_CORNER, SOFT_INK, Box, fill, rounded
from kolors_course.story.storyboard import Storyboard, StoryPanel
from kolors_course.story.typeset import TextBox, load_font, wrap

WIDTH, MARGIN = 1000, 60  # px, as all lengths here
SIDE = WIDTH - 2 * MARGIN
COVER_SIDE = 620

Line = tuple[str, int, str]  # text, size, colour


@dataclass(frozen=True)
class Leaf:
    """Where picture and texts of a leaf stand; `bottom` is how far they reach."""

    picture: Box
    texts: tuple[TextBox, ...]
    bottom: int


def lay_out_leaves(storyboard: Storyboard, font: Path, aspect: float, footer: str = "") -> list[Leaf]:
    """The cover, then a leaf for each panel. `aspect` is height by width of the panels."""
    titles = ((storyboard.title_zh, 72, INK), (storyboard.title_en, 36, SOFT_INK))
    head = _column(titles, font, MARGIN)
    side = min(COVER_SIDE, round(COVER_SIDE / aspect))
    picture = Box((WIDTH - side) // 2, head[-1].bottom + 40, side, round(side * aspect))
    names = " · ".join(each.name for each in storyboard.characters)
    foot = _column(((names, 26, INK), (footer, 20, SOFT_INK)), font, picture.bottom + 30)
    cover = Leaf(picture, (*head, *foot), foot[-1].bottom + MARGIN)
    return [cover, *(_lay_out_panel(panel, i + 1, font, aspect) for i, panel in enumerate(storyboard.panels))]


def _lay_out_panel(panel: StoryPanel, number: int, font: Path, aspect: float) -> Leaf:
    picture = Box(MARGIN, MARGIN, SIDE, round(SIDE * aspect))
    lines = [(panel.caption_zh, 40, INK), (panel.caption_en, 28, SOFT_INK)]
    lines += [(f"“{said}”", 26, INK) for said in (panel.say_zh, panel.say_en) if said]
    texts = _column((*lines, (str(number), 20, SOFT_INK)), font, picture.bottom + 24)
    return Leaf(picture, texts, texts[-1].bottom + MARGIN // 2)


def _column(lines: Sequence[Line], font: Path, top: int) -> tuple[TextBox, ...]:
    texts = []
    for text, size, colour in lines:
        face = load_font(font, size)
        texts.append(TextBox(wrap(text, face, SIDE), face, colour, MARGIN, top, SIDE))
        top = texts[-1].bottom + 4 * bool(text)
    return tuple(texts)


def paint_leaves(leaves: Sequence[Leaf], pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Every leaf as an RGB picture; all have one size."""
    height = max(leaf.bottom for leaf in leaves)
    return [_paint(leaf, picture, height) for leaf, picture in zip(leaves, pictures, strict=True)]


def _paint(leaf: Leaf, picture: Image.Image, height: int) -> Image.Image:
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    box = leaf.picture
    fill(sheet, Box(20, 20, WIDTH - 40, height - 40), CARD, 2 * PICTURE_CORNER)
    fill(sheet, Box(box.left - 2, box.top - 2, box.width + 4, box.height + 4), FRAME, PICTURE_CORNER + 2)
    enlarged = picture.convert("RGB").resize((box.width, box.height), Image.Resampling.LANCZOS)
    sheet.paste(enlarged, (box.left, box.top), rounded(box.width, box.height, PICTURE_CORNER))
    draw = ImageDraw.Draw(sheet)
    for text in leaf.texts:
        text.draw(draw)
    return sheet


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """All leaves below each other, first to last."""
    step = sheets[0].height
    page = Image.new("RGB", (sheets[0].width, step * len(sheets)), PAPER)
    for i, sheet in enumerate(sheets):
        page.paste(sheet, (0, i * step))
    return page
