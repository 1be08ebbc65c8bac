"""The report: counts by hand, every warning, and the same problems as the reader's."""

import json
from pathlib import Path

import pytest
from PIL import Image

from kolors_course.dataset import Spread, check_dataset, read_dataset, write_dataset
from kolors_course.errors import CourseError


def picture(colour: str, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.fixture
def good(tmp_path) -> Path:
    """Three different pictures with captions of 2, 5 and 6 characters."""
    items = [
        (picture("red", (8, 8)), "红旗"),
        (picture("green", (16, 8)), "green"),
        (picture("blue", (8, 8)), "蓝, 旗飘飘"),
    ]
    return write_dataset(tmp_path / "good", items)


def test_counts_of_a_good_dataset(good):
    report = check_dataset(good)
    assert report.ok
    assert (report.rows, report.pictures, report.distinct_captions) == (3, 3, 3)
    assert report.sizes == {"8x8": 2, "16x8": 1}
    assert report.aspect_ratios == Spread(1.0, 1.0, 2.0)
    assert report.caption_lengths == Spread(2, 5, 6)
    assert report.problems == ()
    assert report.warnings == ()


def test_text_of_a_good_report(good):
    assert check_dataset(good).lines() == [
        f"dataset: {good}",
        "rows: 3, of which good: 3",
        "sizes (pictures): 8x8 (2), 16x8 (1)",
        "width / height: 1 to 2, median 1",
        "caption characters: 2 to 6, median 5",
        "distinct captions: 3",
        "result: ready to train on",
    ]


def test_report_survives_json(good):
    data = json.loads(json.dumps(check_dataset(good).to_dict()))
    assert data["ok"] is True
    assert data["sizes"] == {"8x8": 2, "16x8": 1}
    assert data["caption_lengths"] == {"minimum": 2, "median": 5, "maximum": 6}
    assert data["problems"] == []


def test_the_camps_mistake_one_caption_for_all(tmp_path):
    write_dataset(tmp_path / "set", [(picture("red"), "二次元"), (picture("blue"), "二次元")])
    report = check_dataset(tmp_path / "set")
    assert report.ok
    assert report.distinct_captions == 1
    (warning,) = report.warnings
    assert warning.startswith("all 2 pictures have the same caption '二次元'")


def test_one_picture_is_not_blamed_for_having_one_caption(tmp_path):
    write_dataset(tmp_path / "set", [(picture("red"), "二次元")])
    assert check_dataset(tmp_path / "set").warnings == ()


def test_small_pictures(good):
    assert check_dataset(good, training_size=(8, 8)).warnings == ()
    (warning,) = check_dataset(good, training_size=(16, 8)).warnings
    assert warning.startswith("2 pictures are smaller than the training size 16x8")
    assert "the first is 000.png (8x8)" in warning
    (warning,) = check_dataset(good, training_size=(8, 9)).warnings
    assert warning.startswith("3 pictures are smaller")


def test_duplicate_pictures_whatever_the_format(tmp_path):
    folder = write_dataset(
        tmp_path / "set", [(picture("red"), "a"), (picture("blue"), "b"), (picture("red"), "c")]
    )
    with Image.open(folder / "train" / "002.png") as image:
        image.save(folder / "train" / "003.bmp")
    table = folder / "train" / "metadata.csv"
    table.write_text(table.read_text(encoding="utf-8") + "003.bmp,d\n", encoding="utf-8")
    (warning,) = check_dataset(folder).warnings
    assert warning.startswith(
        "the same picture 3 times: 000.png (line 2), 002.png (line 4), 003.bmp (line 5)"
    )


def test_equal_bytes_in_another_shape_are_not_duplicates(tmp_path):
    items = [(picture("red", (8, 4)), "a"), (picture("red", (4, 8)), "b")]
    assert check_dataset(write_dataset(tmp_path / "set", items)).warnings == ()


def test_unlisted_pictures(good):
    picture("black").save(good / "train" / "extra.PNG")
    (good / "train" / "._000.png").write_bytes(b"what macOS leaves in archives")
    (good / "train" / "notes.txt").write_text("not a picture")
    (warning,) = check_dataset(good).warnings
    assert warning.startswith("1 picture is not listed in ")
    assert warning.endswith("the first is extra.PNG")


def test_header_that_other_trainers_reject(good):
    table = good / "train" / "metadata.csv"
    table.write_text(
        table.read_text(encoding="utf-8-sig").replace("file_name,text", "File_Name, text"), encoding="utf-8"
    )
    (warning,) = check_dataset(good).warnings
    assert warning == (
        f"{table} line 1: 'File_Name', ' text' is understood here, but other trainers want file_name,text"
    )


def test_all_problems_are_collected_in_the_readers_words(good):
    table = good / "train" / "metadata.csv"
    table.write_text("file_name,text\n000.png,\n001.png,fine\nno.png,no\n../002.png,out\n", encoding="utf-8")
    report = check_dataset(good)
    assert not report.ok
    assert (report.rows, report.pictures) == (4, 1)
    assert [problem.split(": ")[0] for problem in report.problems] == [
        f"{table} line {number}" for number in (2, 4, 5)
    ]
    with pytest.raises(CourseError) as caught:
        read_dataset(good)
    assert str(caught.value).startswith(report.problems[0])
    lines = report.lines()
    assert [line for line in lines if line.startswith("problem: ")] == [
        f"problem: {problem}" for problem in report.problems
    ]
    assert lines[-1] == "result: mend the problems before training"


def test_all_rows_bad(good):
    (good / "train" / "metadata.csv").write_text("file_name,text\nno.png,no\n", encoding="utf-8")
    report = check_dataset(good)
    assert (report.rows, report.pictures, report.sizes) == (1, 0, {})
    assert report.aspect_ratios is None
    assert report.caption_lengths is None
    assert len(report.lines()) == 4


@pytest.mark.parametrize("table", [None, "", "filename,caption\na,b\n", "file_name,text\n"])
def test_a_folder_that_cannot_be_read_is_one_problem(tmp_path, table):
    if table is not None:
        (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(CourseError) as caught:
        read_dataset(tmp_path)
    report = check_dataset(tmp_path)
    assert report.problems == (str(caught.value),)
    assert (report.ok, report.rows, report.pictures) == (False, 0, 0)
    assert json.dumps(report.to_dict())
