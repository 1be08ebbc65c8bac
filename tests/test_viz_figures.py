"""Sheets of pictures."""

import numpy as np
import pytest
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.viz import figures, picture_grid, stack

COLOURS = ["red", "lime", "blue", "black", "orange"]
GAP = figures.GAP


@pytest.fixture
def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (40, 30), colour) for colour in COLOURS]


def ink_of(sheet: Image.Image, box: tuple[int, int, int, int]) -> int:
    """How many pixels of a part of the sheet are not white."""
    return int((np.asarray(sheet.crop(box)) < 250).any(-1).sum())


def test_pictures_stand_row_by_row(pictures):
    sheet = picture_grid(pictures, 3)
    assert sheet.size == (GAP + 3 * (40 + GAP), GAP + 2 * (30 + GAP))
    for i, picture in enumerate(pictures):
        left, top = GAP + i % 3 * (40 + GAP), GAP + i // 3 * (30 + GAP)
        cell = sheet.crop((left, top, left + 40, top + 30))
        assert cell.tobytes() == picture.tobytes()
    # Nothing but the five pictures is drawn.
    assert ink_of(sheet, (0, 0, *sheet.size)) == 5 * 40 * 30


def test_scale_enlarges(pictures):
    sheet = picture_grid(pictures[:2], 2, scale=3)
    assert sheet.size == (GAP + 2 * (120 + GAP), GAP + 90 + GAP)
    assert sheet.getpixel((GAP + 119, GAP + 89)) == (255, 0, 0)


def test_other_modes_and_none(pictures):
    sheet = picture_grid([pictures[0].convert("RGBA"), None, Image.new("L", (40, 30), 7)], 3)
    assert sheet.getpixel((GAP + 40 + GAP + 20, GAP + 15)) == (0xF2, 0xF4, 0xF7)
    assert sheet.getpixel((GAP + 2 * (40 + GAP), GAP)) == (7, 7, 7)


def test_labels_are_drawn_beside_and_above(pictures):
    bare = picture_grid(pictures[:4], 2, scale=3)
    sheet = picture_grid(
        pictures[:4],
        2,
        scale=3,
        row_labels=["雪地\nsnow", "海面\nsea"],
        column_labels=["猫\ncat", "狗\ndog"],
    )
    left, top = sheet.width - bare.width, sheet.height - bare.height
    assert min(left, top) > 20
    # Below the labels, whose tails may reach into the gap, the sheet is the bare one.
    inner = sheet.crop((left + GAP, top + GAP, *sheet.size))
    assert inner.tobytes() == bare.crop((GAP, GAP, *bare.size)).tobytes()
    for row in range(2):
        y = top + GAP + row * (90 + GAP)
        assert ink_of(sheet, (0, y, left, y + 90)) > 50
    for column in range(2):
        x = left + GAP + column * (120 + GAP)
        assert ink_of(sheet, (x, 0, x + 120, top)) > 50
    assert ink_of(sheet, (0, 0, left, top)) == 0


def test_each_label_is_drawn_in_its_own_letters(pictures):
    """A font without Chinese would draw the same box for each character."""
    sheets = {picture_grid(pictures[:1], 1, scale=3, column_labels=[word]).tobytes() for word in "雪海草沙"}
    assert len(sheets) == 4


def rows_with_ink(sheet: Image.Image, height: int) -> int:
    """How many lines of text the upper `height` pixels hold."""
    inked = (np.asarray(sheet.crop((0, 0, sheet.width, height))) < 200).any((1, 2))
    return int((inked[1:] & ~inked[:-1]).sum())


def test_headings_shrink_to_text_and_then_break(pictures):
    """Nothing is smaller than text (9 points), nothing is wider than its column, and no word is lost."""
    tops = {}
    for label in (
        "a butterfly",
        "a striped butterfly",
        "a butterfly and a hedgehog",
        "一只蝴蝶和一只刺猬在海边",
    ):
        sheet = picture_grid(pictures[:1], 1, scale=3, column_labels=[label])
        assert sheet.width == GAP + 120 + GAP
        assert ink_of(sheet, (0, 0, 1, 20)) == ink_of(sheet, (sheet.width - 1, 0, sheet.width, 20)) == 0
        tops[label] = rows_with_ink(sheet, sheet.height - 90 - GAP - 1)
    assert list(tops.values()) == [1, 1, 2, 2]


def test_a_machine_without_chinese_fonts_still_gets_its_sheet(pictures, monkeypatch):
    monkeypatch.setattr(figures, "cjk_font_path", lambda text: None)
    sheet = picture_grid(pictures[:1], 1, scale=3, column_labels=["cat"])
    assert ink_of(sheet, (0, 0, sheet.width, sheet.height)) > 120 * 90 + 20


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (0, {}, "a picture grid needs at least one picture"),
        (4, {"row_labels": ["a"]}, "1 row labels for 2 rows; give one for each"),
        (4, {"column_labels": ["a", "b", "c"]}, "3 column labels for 2 columns; give one for each"),
        (4, {"scale": 0}, "scale 0 and 2 columns: both must be at least 1"),
    ],
)
def test_wrong_input_is_one_clear_line(pictures, count, options, message):
    with pytest.raises(CourseError, match=message):
        picture_grid(pictures[:count], 2, **options)


def test_pictures_of_two_sizes_are_one_clear_line(pictures):
    with pytest.raises(CourseError, match="picture 2 has 8x8 px, but picture 0 has 40x30; resize"):
        picture_grid([pictures[0], None, Image.new("RGB", (8, 8))], 2)


def test_stack_aligns_on_the_right():
    page = stack([Image.new("RGB", (10, 4), "red"), Image.new("RGB", (6, 3), "blue")])
    assert page.size == (10, 7)
    assert page.getpixel((0, 0)) == (255, 0, 0)
    assert [page.getpixel((x, 5)) for x in (3, 4, 9)] == [(255, 255, 255), (0, 0, 255), (0, 0, 255)]
