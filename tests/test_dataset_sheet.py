"""The sheet of thumbnails: its size, what is framed, and texts that are cut to their cell."""

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageFont

from kolors_course.dataset import Report, check_dataset, thumbnail_sheet, write_dataset
from kolors_course.dataset.sheet import BLANK, COLUMNS, GAP, SIDE, WARNING, _Pen
from kolors_course.errors import CourseError
from kolors_course.platform.fonts import cjk_font_path

COLOURS = ("red", "green", "blue", "black", "yellow", "white", "cyan", "magenta")


def picture(colour: str, size: tuple[int, int] = (40, 20)) -> Image.Image:
    return Image.new("RGB", size, colour)


def colours_at(sheet: Image.Image, places: int, top: int) -> list[tuple[int, int, int]]:
    """The colour in the middle of each cell of the row whose pictures begin at `top`."""
    return [
        sheet.getpixel((GAP + place * (SIDE + GAP) + SIDE // 2, top + SIDE // 2)) for place in range(places)
    ]


def top_of(sheet: Image.Image) -> int:
    """The first row of pixels of the cells' grey ground."""
    return int((np.asarray(sheet) == ImageColor.getrgb(BLANK)).all(axis=2).any(axis=1).argmax())


def test_every_picture_has_its_place(tmp_path):
    folder = write_dataset(tmp_path / "set", [(picture(colour), f"a {colour} flag") for colour in COLOURS])
    sheet = thumbnail_sheet(check_dataset(folder))
    assert sheet.width == GAP + COLUMNS * (SIDE + GAP)
    top = top_of(sheet)
    assert colours_at(sheet, COLUMNS, top) == [ImageColor.getrgb(colour) for colour in COLOURS[:COLUMNS]]
    assert not (np.asarray(sheet) == ImageColor.getrgb(WARNING)).all(axis=2).any()
    one_row = thumbnail_sheet(check_dataset(write_dataset(tmp_path / "one", [(picture("red"), "a")])))
    row_height = sheet.height - one_row.height
    assert row_height > SIDE
    assert colours_at(sheet, 2, top + row_height) == [
        ImageColor.getrgb(colour) for colour in COLOURS[COLUMNS:]
    ]


def test_pictures_with_warnings_come_first_and_are_framed(tmp_path):
    items = [
        (picture("red"), "一"),
        (picture("blue"), "二"),
        (picture("green"), "三"),
        (picture("blue"), "四"),
    ]
    sheet = thumbnail_sheet(check_dataset(write_dataset(tmp_path / "set", items)))
    top = top_of(sheet)
    expected = [ImageColor.getrgb(colour) for colour in ("blue", "blue", "red", "green")]
    assert colours_at(sheet, 4, top) == expected
    framed = [sheet.getpixel((GAP + place * (SIDE + GAP) + SIDE // 2, top - 1)) for place in range(4)]
    assert framed == [ImageColor.getrgb(WARNING)] * 2 + [(255, 255, 255)] * 2


def test_too_many_pictures_are_cut_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr("kolors_course.dataset.sheet.MOST", 2)
    folder = write_dataset(tmp_path / "set", [(picture(colour), colour) for colour in COLOURS])
    written = []
    write = _Pen.write
    monkeypatch.setattr(_Pen, "write", lambda *a: (written.append(a[4]), write(*a))[1])
    thumbnail_sheet(check_dataset(folder))
    assert "2 of 8 pictures" in written[0]
    assert [line for line in written if line.startswith("00")] == ["000.png  40x20", "001.png  40x20"]


@pytest.mark.parametrize(
    "text", ["夜晚雪地上的一只兔子，" * 20, "a rabbit on a snowy field at night " * 9, "x" * 300, "短"]
)
def test_lines_fit_their_cell(text):
    pen = _Pen(ImageFont.truetype(str(cjk_font_path(text)), 13))
    lines = pen.lines(text, SIDE, 3)
    assert 1 <= len(lines) <= 3
    assert all(pen.font.getlength(line) <= SIDE for line in lines)
    shown = "".join(lines).removesuffix("…").replace(" ", "")
    assert text.replace(" ", "").startswith(shown)
    assert (lines[-1][-1] == "…") == (len(text) > 100)
    assert pen.lines("", SIDE, 3) == []


def test_nothing_to_draw():
    with pytest.raises(CourseError, match="no picture of photos can be read"):
        thumbnail_sheet(Report("photos"))
