"""The writer: what it writes the reader reads back, and a failure leaves nothing behind."""

import csv

import numpy as np
import pytest
from PIL import Image

from kolors_course.dataset import open_picture, read_dataset, write_dataset
from kolors_course.errors import CourseError

CAPTIONS = ["一只兔子, 在雪地上", 'a "quoted" rabbit', "two\nlines", "plain"]


def noise(number: int) -> Image.Image:
    random = np.random.default_rng(number)
    return Image.fromarray(random.integers(0, 256, (5 + number, 7, 3), dtype=np.uint8))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_round_trip(tmp_path, encoding):
    folder = tmp_path / "deep" / "set"
    pictures = [noise(number) for number in range(4)]
    assert write_dataset(folder, zip(pictures, CAPTIONS, strict=True), encoding) == folder
    dataset = read_dataset(folder)
    assert dataset.folder == folder / "train"
    assert [sample.text for sample in dataset.samples] == CAPTIONS
    assert [sample.path.name for sample in dataset.samples] == ["000.png", "001.png", "002.png", "003.png"]
    for sample, picture in zip(dataset.samples, pictures, strict=True):
        assert sample.size == picture.size
        assert open_picture(sample.path).tobytes() == picture.tobytes()
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_exact_bytes_of_the_table(tmp_path):
    write_dataset(tmp_path / "set", [(noise(0), " 兔子, 雪 ")])
    data = (tmp_path / "set" / "train" / "metadata.csv").read_bytes()
    assert data == b"\xef\xbb\xbf" + 'file_name,text\n000.png,"兔子, 雪"\n'.encode()


def test_other_trainers_can_read_it(tmp_path):
    write_dataset(tmp_path / "set", [(noise(0), CAPTIONS[0])])
    with (tmp_path / "set" / "train" / "metadata.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert list(csv.DictReader(stream)) == [{"file_name": "000.png", "text": CAPTIONS[0]}]


def test_transparency_is_written_on_white(tmp_path):
    write_dataset(tmp_path / "set", [(Image.new("RGBA", (2, 2), (0, 0, 0, 0)), "nothing")])
    with Image.open(tmp_path / "set" / "train" / "000.png") as image:
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "set").mkdir()
    write_dataset(tmp_path / "set", [(noise(0), "a")])
    assert len(read_dataset(tmp_path / "set")) == 1


def test_refuses_a_folder_in_use_and_leaves_it_alone(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("keep")
    with pytest.raises(CourseError, match="set exists and is not an empty folder; choose another"):
        write_dataset(tmp_path / "set", [(noise(0), "a")])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine.txt", "set"]
    with pytest.raises(CourseError, match="exists and is not an empty folder"):
        write_dataset(tmp_path / "set" / "mine.txt", [(noise(0), "a")])
    assert (tmp_path / "set" / "mine.txt").read_text() == "keep"


def items_that_stop():
    yield noise(0), "a"
    raise RuntimeError("the renderer broke")


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([(noise(0), "a"), (noise(1), "  ")], CourseError, "the caption of item 2 is empty; describe"),
        (
            [(noise(0), "a"), (Image.new("F", (2, 2)), "b")],
            CourseError,
            "the picture of item 2: pixel format F",
        ),
        ([], CourseError, "at least one picture; none was given"),
        (items_that_stop(), RuntimeError, "the renderer broke"),
    ],
)
def test_a_failure_leaves_nothing_behind(tmp_path, items, error, message):
    with pytest.raises(error, match=message):
        write_dataset(tmp_path / "set", items)
    assert list(tmp_path.iterdir()) == []


def test_other_encodings_are_refused(tmp_path):
    with pytest.raises(CourseError, match="encoding gbk is not one of utf-8, utf-8-sig"):
        write_dataset(tmp_path / "set", [(noise(0), "a")], encoding="gbk")
    assert list(tmp_path.iterdir()) == []
