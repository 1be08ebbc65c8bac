"""A story on one page: first every box gets its place, then everything is painted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw

from kolors_course.errors import CourseError
from kolors_course.story.paint import (
    BAND,
    CARD,
    CORNER,
    FRAME,
    INK,
    PAPER,
    PICTURE_CORNER,
    SEAL,
    SOFT_INK,
    Box,
    cast_shadows,
    fill,
    paint_number,
    rounded,
)
from kolors_course.story.storyboard import Storyboard, StoryPanel
from kolors_course.story.typeset import TextBox, font_file, load_font, wrap

PAGE_WIDTH, MARGIN, GAP = 1400, 64, 24  # px, as all lengths here
CONTENT = PAGE_WIDTH - 2 * MARGIN
CARD_WIDTH = 400  # at most, so that a story of two panels does not fill the page with two pictures
INSET = 12  # from the card's edge to its picture
# Columns for 1, 2, ... 16 panels: near-square grids, wider than high, with few empty places.
COLUMNS = (1, 2, 3, 2, 3, 3, 4, 4, 3, 5, 4, 4, 5, 5, 5, 4)
BASE_COLUMNS, BASE_GAP, BASE_SIDE = 8, 16, 138
BASE_LABEL = ("同样的提示词与种子，没有 LoRA", "same prompts and seeds, without the LoRA")


@dataclass
class PageLayout:
    """Where everything stands; filled from top to bottom, `bottom` is how far."""

    font: Path
    bottom: int = MARGIN
    texts: list[TextBox] = field(default_factory=list)
    badges: list[Box] = field(default_factory=list)
    cards: list[Box] = field(default_factory=list)
    pictures: list[Box] = field(default_factory=list)
    band: Box | None = None
    base_pictures: list[Box] = field(default_factory=list)

    def write(self, text: str, size: int, colour: str, left: int, top: int, width: int) -> TextBox:
        """Place wrapped text and return its box; it is drawn when the page is painted."""
        font = load_font(self.font, size)
        box = TextBox(wrap(text, font, width), font, colour, left, top, width)
        self.texts.append(box)
        return box


def lay_out_page(
    storyboard: Storyboard,
    aspect: float = 1.0,
    with_base: bool = True,
    style_name: tuple[str, str] | None = None,
    footer: str = "",
) -> PageLayout:
    """Give every picture and text of the page its box. `aspect` is height by width of the panels.

    Raises:
        CourseError: a character that no font here can draw. Ask before the pictures are made.
    """
    captions = [text for panel in storyboard.panels for text in (panel.caption_zh, panel.caption_en)]
    everything = [
        storyboard.title_zh,
        storyboard.title_en,
        *captions,
        *BASE_LABEL,
        *(style_name or ()),
        footer,
    ]
    page = PageLayout(font_file("".join(everything)))
    _lay_out_header(page, storyboard, style_name)
    columns = COLUMNS[len(storyboard.panels) - 1]
    for start in range(0, len(storyboard.panels), columns):
        _lay_out_row(page, storyboard.panels[start : start + columns], columns, aspect)
    if with_base:
        _lay_out_base(page, len(storyboard.panels), aspect)
    if footer:
        page.bottom = page.write(footer, 17, SOFT_INK, MARGIN, page.bottom + 20, CONTENT).bottom
    page.bottom += MARGIN - 16
    return page


def _lay_out_header(page: PageLayout, storyboard: Storyboard, style_name: tuple[str, str] | None) -> None:
    title = page.write(storyboard.title_zh, 58, INK, MARGIN, page.bottom - 16, CONTENT)
    subtitle = page.write(storyboard.title_en, 27, SOFT_INK, MARGIN, title.bottom + 2, CONTENT)
    page.bottom = subtitle.bottom
    if style_name:
        badge = page.write(" · ".join(style_name), 19, CARD, MARGIN + 24, page.bottom + 18, CONTENT - 48)
        width = 48 + round(max(badge.font.getlength(line) for line in badge.lines))
        page.badges.append(
            Box((PAGE_WIDTH - width) // 2, badge.top - 7, width, badge.bottom - badge.top + 14)
        )
        page.bottom = badge.bottom + 7
    page.bottom += 32


def _lay_out_row(page: PageLayout, panels: Sequence[StoryPanel], columns: int, aspect: float) -> None:
    """One row of cards, all as high as the longest captions need; a short last row stands in the middle."""
    width = min(CARD_WIDTH, (CONTENT - (columns - 1) * GAP) // columns)
    left = (PAGE_WIDTH - len(panels) * width - (len(panels) - 1) * GAP) // 2
    side, top, bottoms = width - 2 * INSET, page.bottom, []
    for i, panel in enumerate(panels):
        x = left + i * (width + GAP) + INSET
        page.pictures.append(Box(x, top + INSET, side, round(side * aspect)))
        zh = page.write(panel.caption_zh, 23, INK, x - 4, page.pictures[-1].bottom + 12, side + 8)
        bottoms.append(page.write(panel.caption_en, 17, SOFT_INK, x - 4, zh.bottom + 2, side + 8).bottom)
    height = max(bottoms) + 14 - top
    page.cards += [Box(left + i * (width + GAP), top, width, height) for i in range(len(panels))]
    page.bottom = top + height + GAP


def _lay_out_base(page: PageLayout, count: int, aspect: float) -> None:
    top = page.bottom + 12
    zh = page.write(BASE_LABEL[0], 21, INK, MARGIN + GAP, top + 16, CONTENT - 2 * GAP)
    en = page.write(BASE_LABEL[1], 17, SOFT_INK, MARGIN + GAP, zh.bottom, CONTENT - 2 * GAP)
    y, height = en.bottom + 14, round(BASE_SIDE * aspect)
    for start in range(0, count, BASE_COLUMNS):
        here = min(BASE_COLUMNS, count - start)
        left = (PAGE_WIDTH - here * BASE_SIDE - (here - 1) * BASE_GAP) // 2
        page.base_pictures += [
            Box(left + i * (BASE_SIDE + BASE_GAP), y, BASE_SIDE, height) for i in range(here)
        ]
        y += height + BASE_GAP
    page.bottom = y - BASE_GAP + GAP
    page.band = Box(MARGIN, top, CONTENT, page.bottom - top)


def story_page(
    storyboard: Storyboard,
    panels: Sequence[Image.Image],
    base_panels: Sequence[Image.Image] | None = None,
    *,
    style_name: tuple[str, str] | None = None,
    footer: str = "",
) -> Image.Image:
    """The story as one picture, RGB, 1400 px wide and as high as it needs.

    Args:
        panels: one picture for each panel, all of one size.
        base_panels: the same panels drawn without the LoRA; shown small below the story.
        style_name: (Chinese, English), shown under the title.
        footer: for example the measured scores.

    Raises:
        CourseError: pictures that do not fit the storyboard, or a character that no font here can draw.
    """
    pictures = [*panels, *(base_panels or ())]
    check_pictures(storyboard, panels)
    if base_panels is not None:
        check_pictures(storyboard, base_panels, "base panels")
        if base_panels[0].size != panels[0].size:
            sizes = ", ".join("{}x{}".format(*size) for size in sorted({panels[0].size, base_panels[0].size}))
            raise CourseError(f"the pictures of one page must have one size, not {sizes}")
    width, height = pictures[0].size
    layout = lay_out_page(storyboard, height / width, base_panels is not None, style_name, footer)
    return _paint(layout, pictures)


def check_pictures(storyboard: Storyboard, pictures: Sequence[Image.Image], name: str = "panels") -> None:
    """Whether there is a picture for each panel, all of one size.

    Raises:
        CourseError: there is not.
    """
    if len(pictures) != len(storyboard.panels):
        raise CourseError(
            f"{storyboard.path} has {len(storyboard.panels)} panels, but there are {len(pictures)} {name}"
        )
    if len(sizes := {picture.size for picture in pictures}) > 1:
        named = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise CourseError(f"the pictures of one page must have one size, not {named}")


def _paint(layout: PageLayout, pictures: Sequence[Image.Image]) -> Image.Image:
    page = Image.new("RGB", (PAGE_WIDTH, layout.bottom), PAPER)
    if layout.band:
        fill(page, layout.band, BAND, CORNER)
    cast_shadows(page, layout.cards)
    for card in layout.cards:
        fill(page, card, CARD, CORNER)
    for badge in layout.badges:
        fill(page, badge, SEAL, badge.height // 2)
    for box, picture in zip([*layout.pictures, *layout.base_pictures], pictures, strict=True):
        fill(page, Box(box.left - 1, box.top - 1, box.width + 2, box.height + 2), FRAME, PICTURE_CORNER + 1)
        picture = picture.convert("RGB").resize((box.width, box.height), Image.Resampling.LANCZOS)
        page.paste(picture, (box.left, box.top), rounded(box.width, box.height, PICTURE_CORNER))
    for number, box in enumerate(layout.pictures, start=1):
        paint_number(page, layout.font, number, box)
    draw = ImageDraw.Draw(page)
    for text in layout.texts:
        text.draw(draw)
    return page
