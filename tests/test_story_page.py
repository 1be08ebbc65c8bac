"""The page: nothing clipped, nothing overlapping, every picture in its place."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image, ImageChops, ImageDraw

from kolors_course.art import render
from kolors_course.errors import CourseError
from kolors_course.platform.fonts import BUNDLED_FONT
from kolors_course.platform.paths import data_dir
from kolors_course.story import MAX_PANELS, Storyboard, lay_out_page, read_storyboard, story_page
from kolors_course.story.page import PAGE_WIDTH, Box
from kolors_course.story.typeset import NOT_FIRST, NOT_LAST, load_font, wrap

FONT = data_dir() / BUNDLED_FONT
STYLE = ("剪纸", "paper-cut")
LONG_ZH = "很久很久以前，（在遥远的森林深处）住着一只“非常非常”喜欢看月亮的小兔子，她每天晚上都不睡觉！"
LONG_EN = (
    "Once, deep in the (far away) forest, lived Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch."
)


@pytest.fixture(scope="module")
def moon_rabbit() -> Storyboard:
    return read_storyboard(data_dir() / "stories" / "moon_rabbit.yaml")


def of_length(storyboard: Storyboard, count: int) -> Storyboard:
    return replace(storyboard, panels=(storyboard.panels * 2)[:count])


def overlap(a, b) -> bool:
    apart = a.left + a.width <= b.left or b.left + b.width <= a.left or a.bottom <= b.top or b.bottom <= a.top
    return not apart


def inside(inner, outer) -> bool:
    return (
        outer.left <= inner.left
        and inner.left + inner.width <= outer.left + outer.width
        and outer.top <= inner.top
        and inner.bottom <= outer.bottom
    )


def ink_of(text) -> Box:
    """Where a text really leaves marks when it is drawn."""
    canvas = Image.new("L", (PAGE_WIDTH, text.bottom + 50))
    replace(text, colour="#ffffff").draw(ImageDraw.Draw(canvas))
    left, top, right, bottom = canvas.getbbox()
    return Box(left, top, right - left, bottom - top)


def check_geometry(layout) -> None:
    page = Box(0, 0, PAGE_WIDTH, layout.bottom)
    boxes = [*layout.texts, *layout.pictures, *layout.base_pictures]
    assert all(inside(box, page) for box in boxes)
    assert not any(overlap(a, b) for a, b in combinations(boxes, 2))
    assert not any(overlap(a, b) for a, b in combinations(layout.cards, 2))
    assert all(inside(picture, card) for picture, card in zip(layout.pictures, layout.cards, strict=True))
    for text in layout.texts:
        assert inside(ink_of(text), text), text.lines
        assert all(inside(text, card) for card in layout.cards if overlap(text, card)), text.lines
    if layout.band:
        assert all(inside(picture, layout.band) for picture in layout.base_pictures)


def test_the_shipped_story_on_its_page(moon_rabbit):
    layout = lay_out_page(moon_rabbit, style_name=STYLE, footer="风格 style 0.97 · 提示词 prompt 0.91")
    check_geometry(layout)
    assert layout.font == FONT
    assert len(layout.pictures) == len(layout.base_pictures) == 8
    assert len({box.top for box in layout.pictures}) == 2
    assert len({box.left for box in layout.pictures}) == 4
    assert len({box.top for box in layout.base_pictures}) == 1
    assert min(box.width for box in layout.pictures) >= 270
    for panel in moon_rabbit.panels:
        assert (panel.caption_zh,) in [text.lines for text in layout.texts]
        assert panel.caption_en in [" ".join(text.lines) for text in layout.texts if len(text.lines) <= 2]


@pytest.mark.parametrize("count", range(1, MAX_PANELS + 1))
def test_every_number_of_panels_fits(moon_rabbit, count):
    layout = lay_out_page(of_length(moon_rabbit, count), footer="好")
    check_geometry(layout)
    assert len(layout.pictures) == len(layout.cards) == len(layout.base_pictures) == count


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.75])
def test_long_words_make_the_page_higher_and_are_never_lost(moon_rabbit, aspect):
    panels = (replace(moon_rabbit.panels[0], caption_zh=LONG_ZH, caption_en=LONG_EN), *moon_rabbit.panels[1:])
    wordy = replace(
        moon_rabbit, title_zh="小兔找月亮" * 12, title_en="Rabbit looks for the moon. " * 6, panels=panels
    )
    layout = lay_out_page(wordy, aspect, style_name=("剪纸" * 40, "paper-cut " * 20), footer="分数 " * 150)
    check_geometry(layout)
    badge = layout.texts[2]
    assert len(badge.lines) > 1
    assert inside(badge, Box(0, layout.badges[0].top, PAGE_WIDTH, layout.badges[0].height))
    assert inside(ink_of(badge), layout.badges[0])
    assert layout.bottom > lay_out_page(moon_rabbit, aspect, style_name=STYLE, footer="分数").bottom
    written = "".join("".join(text.lines) for text in layout.texts).replace(" ", "")
    for words in (LONG_ZH, LONG_EN, wordy.title_zh, wordy.title_en, "分数" * 150):
        assert words.replace(" ", "") in written


@pytest.mark.parametrize("width", [60, 130, 276, 900])
def test_lines_are_few_narrow_enough_and_break_where_they_may(width):
    font = load_font(FONT, 23)
    for words in (
        LONG_ZH,
        LONG_EN.replace("Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", "a bee"),
    ):
        lines = wrap(words, font, width)
        assert "".join(lines).replace(" ", "") == words.replace(" ", "")
        assert all(font.getlength(line) <= width for line in lines)
        if width >= 130:  # at 60 px some words must be cut
            assert not any(line[0] in NOT_FIRST or line[-1] in NOT_LAST for line in lines)
            assert not words.isascii() or " ".join(lines) == words


def test_lines_are_equally_long():
    font = load_font(FONT, 20)
    assert wrap("一二三四五六七八九十一二", font, 220) == ("一二三四五六", "七八九十一二")
    assert wrap("one two", font, 900) == ("one two",)
    assert wrap("一\n二\u200b \t三", font, 900) == ("一 二 三",)
    assert wrap("月亮", font, 3) == ("月", "亮")


def test_pictures_stand_where_the_layout_says(moon_rabbit):
    styled = [render(panel.scene, 64, "paper-cut") for panel in moon_rabbit.panels]
    plain = [render(panel.scene, 64) for panel in moon_rabbit.panels]
    page = story_page(moon_rabbit, styled, plain, style_name=STYLE, footer="prompt 0.91")
    layout = lay_out_page(moon_rabbit, style_name=STYLE, footer="prompt 0.91")
    assert (page.mode, page.size) == ("RGB", (PAGE_WIDTH, layout.bottom))
    boxes = [*layout.pictures, *layout.base_pictures]
    for box, picture in zip(boxes, styled + plain, strict=True):
        enlarged = picture.resize((box.width, box.height), Image.Resampling.LANCZOS)
        # The lower right part: rounded corners and the number's seal lie outside it.
        part = (box.width // 5, box.height // 5, box.width - 12, box.height - 12)
        shown = page.crop((box.left, box.top, box.left + box.width, box.bottom)).crop(part)
        assert ImageChops.difference(shown, enlarged.crop(part)).getbbox() is None


def test_every_text_leaves_its_ink_on_the_page(moon_rabbit):
    plain = Image.new("RGB", (64, 64), "#808080")
    page = np.asarray(story_page(moon_rabbit, [plain] * 8, style_name=STYLE, footer="分数"), dtype=int)
    for text in lay_out_page(moon_rabbit, with_base=False, style_name=STYLE, footer="分数").texts:
        patch = page[text.top : text.bottom, text.left : text.left + text.width]
        ink = np.array([int(text.colour[i : i + 2], 16) for i in (1, 3, 5)])
        # Some pixel wholly covered by a stroke has the text's very colour.
        assert (abs(patch - ink).sum(-1) == 0).any(), text.lines


def test_without_base_panels_there_is_no_base_row(moon_rabbit):
    assert lay_out_page(moon_rabbit, with_base=False).bottom < lay_out_page(moon_rabbit).bottom
    layout = lay_out_page(moon_rabbit, with_base=False)
    check_geometry(layout)
    assert (layout.band, layout.base_pictures, layout.badges) == (None, [], [])
    assert story_page(moon_rabbit, [Image.new("RGB", (64, 64))] * 8).height == layout.bottom


def test_pictures_keep_their_proportions(moon_rabbit):
    layout = lay_out_page(of_length(moon_rabbit, 2), 48 / 64)
    for box in layout.pictures + layout.base_pictures:
        assert box.height / box.width == pytest.approx(48 / 64, abs=0.51 / box.width)
    assert story_page(of_length(moon_rabbit, 2), [Image.new("RGBA", (64, 48))] * 2).width == PAGE_WIDTH


def test_pictures_that_do_not_fit_the_story_are_refused(moon_rabbit):
    small, large = Image.new("RGB", (64, 64)), Image.new("RGB", (128, 64))
    with pytest.raises(CourseError, match=r"moon_rabbit\.yaml has 8 panels, but there are 7 panels"):
        story_page(moon_rabbit, [small] * 7)
    with pytest.raises(CourseError, match="has 8 panels, but there are 0 base panels"):
        story_page(moon_rabbit, [small] * 8, [])
    with pytest.raises(CourseError, match="must have one size, not 64x64, 128x64"):
        story_page(moon_rabbit, [small] * 8, [large] * 8)


def test_missing_fonts_and_characters_are_told_before_anything_is_drawn(moon_rabbit, monkeypatch, tmp_path):
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    with pytest.raises(CourseError, match=r"no font here draws '🐇' \(U\+1F407\)"):
        lay_out_page(replace(moon_rabbit, title_en="Rabbit 🐇"))
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(tmp_path))
    with pytest.raises(CourseError, match="no font with Chinese characters"):
        story_page(moon_rabbit, [Image.new("RGB", (64, 64))] * 8)


def test_a_storyboard_made_by_hand_needs_panels():
    with pytest.raises(CourseError, match=r"mine\.yaml: 'panels' holds 0 panels"):
        Storyboard("题", "Title", (), Path("mine.yaml"))
