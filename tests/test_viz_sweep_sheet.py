"""The picture sheet of a sweep: where the cells stand, and that its labels are drawn."""

import numpy as np
import pytest
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.sweep import parse_axis
from kolors_course.viz import sweep_sheet

STEPS, WORDS, LORAS = (
    parse_axis(t) for t in ("steps=2,4,8", "word=猫,狗", "lora=none,a/ink.safetensors:0.5")
)


def pictures(count: int, side: int = 128) -> list[Image.Image]:
    return [Image.new("RGB", (side, side), (200, 10 * i, 0)) for i in range(count)]


def places(sheet: Image.Image) -> list[tuple[int, int, int]]:
    """(top, left, green / 10) of every picture, by its colour."""
    pixels = np.asarray(sheet).astype(int)
    found = []
    for i in range(25):
        rows, columns = np.nonzero((pixels == (200, 10 * i, 0)).all(-1))
        if len(rows) > 1000:
            found.append((int(rows.min()), int(columns.min()), i))
    return found


def ink(sheet: Image.Image, box: tuple[int, int, int, int]) -> int:
    return int((np.asarray(sheet.crop(box).convert("L")) < 160).sum())


def test_rows_columns_and_blocks_stand_in_their_order():
    found = places(sweep_sheet([STEPS, WORDS, LORAS], pictures(12)))
    assert [i for _, _, i in sorted(found)] == list(range(12))
    assert len({left for _, left, _ in found}) == 3
    tops = sorted({top for top, _, _ in found})
    assert len(tops) == 4
    assert tops[2] - tops[1] > tops[1] - tops[0] + 40  # the name of the block and its column labels


def test_small_pictures_are_enlarged_and_sheets_stay_in_bounds():
    found = sorted(places(sweep_sheet([STEPS], pictures(3))))
    assert found[1][1] - found[0][1] == 256 + 6
    many = parse_axis("seed=1..64")
    sheet = sweep_sheet([many], [Image.new("RGB", (1024, 1024))] * 64)
    assert 11_500 < sheet.width < 13_000
    assert sheet.height < 400


def test_labels_in_chinese_are_drawn_in_full():
    """Each label's ink lies on white, clear of the pictures, and another word makes other ink."""
    one = sweep_sheet([STEPS, WORDS], pictures(6), "一只猫", "设置")
    other = sweep_sheet([STEPS, parse_axis("word=猫,鲸鱼")], pictures(6), "一只猫", "设置")
    (top, left, _), *_ = sorted(places(one))
    assert ink(one, (0, 0, one.width, top)) > 300  # title, note, and labels of columns
    beside = one.crop((0, top, left, one.height))
    assert ink(one, (0, top, left, one.height)) > 50
    assert np.asarray(beside)[:, -1].min() == 255
    assert beside.tobytes() != other.crop((0, top, left, other.height)).tobytes()


def test_names_of_blocks_are_not_cut_by_the_pictures_below():
    """g and y reach below the line; the sheet with them has ink where that without has none."""
    sheets = [sweep_sheet([STEPS, WORDS, parse_axis(f"lora={name}")], pictures(6)) for name in ("xxx", "ggg")]
    (top, *_), *_ = sorted(places(sheets[0]))
    plain, tails = (np.asarray(sheet.crop((60, 0, 110, top)).convert("L")) < 160 for sheet in sheets)
    last = [np.nonzero(page.any(1))[0] for page in (plain[:40], tails[:40])]
    assert last[1].max() >= last[0].max() + 3


def test_long_labels_are_cut():
    axis = parse_axis("word=" + "very " * 50 + "long,cat")
    assert sweep_sheet([STEPS, axis], pictures(6)).width < 1200


def test_what_does_not_fit_is_refused():
    with pytest.raises(CourseError, match="5 pictures for 6 cells"):
        sweep_sheet([STEPS, WORDS], pictures(5))
    with pytest.raises(CourseError, match="one to three axes, not 4"):
        sweep_sheet([STEPS] * 4, pictures(1))
