"""Captions for a folder: whole or not at all, never over others, and going on where they stopped."""

import json
from dataclasses import replace

import pytest
from captioners import Teller
from command_line import tree
from PIL import Image

from kolors_course.captioner import CaptionJob, caption_folder
from kolors_course.captioner.folder import NOTES
from kolors_course.dataset import read_dataset
from kolors_course.errors import CourseError


@pytest.fixture
def folder(tmp_path):
    """Five pictures, one of them in a folder below, with a name that CSV must quote."""
    (tmp_path / "below").mkdir()
    names = ("a.png", "b.jpg", "below/夜,里.png", "c.webp", "d.png")
    for i, name in enumerate(names):
        Image.new("RGB", (20, 10 + i), (40 * i, 0, 90)).save(tmp_path / name)
    return tmp_path


def job_of(folder, **changes):
    return CaptionJob(folder, "en", **changes)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
@pytest.mark.parametrize("place", ["", "train"])
def test_what_is_written_reads_as_a_data_set(folder, format, place):
    if place:
        pictures = list(folder.iterdir())
        (folder / place).mkdir()
        for file in pictures:
            file.rename(folder / place / file.name)
    told = []
    captions = caption_folder(job_of(folder, format=format), Teller(), told.append)
    dataset = read_dataset(folder)
    assert {s.path.relative_to(folder / place).as_posix(): s.text for s in dataset.samples} == captions
    assert len(captions) == 5 == len(set(captions.values()))
    assert told == [0, 2, 4, 5]
    assert not (folder / place / NOTES).exists()


def test_the_style_stands_behind_each_caption(folder):
    assert all(
        text.endswith(", ink style")
        for text in caption_folder(job_of(folder, style="ink style"), Teller()).values()
    )
    chinese = replace(job_of(folder, style="水墨风格", overwrite=True), language="zh")
    assert all(text.endswith("，水墨风格") for text in caption_folder(chinese, Teller()).values())


@pytest.mark.parametrize("there", ["metadata.csv", "metadata.jsonl", "b.txt", "d.caption"])
def test_captions_that_are_there_are_kept(folder, there):
    (folder / there).write_text("file_name,text\na.png,mine\n", encoding="utf-8")
    before, teller = tree(folder), Teller()
    with pytest.raises(CourseError, match="is there|describes a picture"):
        caption_folder(job_of(folder), teller)
    assert (tree(folder), teller.seen) == (before, [])
    assert "mine" in (folder / there).read_text(encoding="utf-8")


def test_overwrite_replaces_them(folder):
    (folder / "metadata.csv").write_text("file_name,text\na.png,mine\n", encoding="utf-8")
    caption_folder(job_of(folder, overwrite=True), Teller())
    assert len(read_dataset(folder)) == 5


def test_two_metadata_files_are_never_left(folder):
    caption_folder(job_of(folder), Teller())
    with pytest.raises(CourseError, match="a data set has one metadata file"):
        caption_folder(job_of(folder, format="jsonl", overwrite=True), Teller())
    assert len(read_dataset(folder)) == 5


@pytest.mark.parametrize("stops", [False, True])
def test_an_interrupted_job_goes_on(folder, stops):
    first, second = Teller(fails=3, stops=stops), Teller()
    with pytest.raises(KeyboardInterrupt if stops else CourseError):
        caption_folder(job_of(folder), first)
    assert not (folder / "metadata.csv").exists()
    kept = 2 if stops else 3  # of the batch that was stopped, nothing is noted
    captions = caption_folder(job_of(folder), second)
    assert len(second.seen) == 5 - kept
    whole = caption_folder(job_of(folder, overwrite=True), Teller())
    assert captions == whole


def test_pictures_without_words_are_named_and_the_others_kept(folder):
    with pytest.raises(
        CourseError, match=r"no caption for c.webp \(it will not say\), and 1 more; the other 3 of 5"
    ):
        caption_folder(job_of(folder), Teller(fails=3))


@pytest.mark.parametrize("change", ["language", "length", "captioner", "picture"])
def test_notes_of_another_job_are_not_taken(folder, change):
    with pytest.raises(KeyboardInterrupt):
        caption_folder(job_of(folder), Teller(fails=4, stops=True))
    job, teller = job_of(folder), Teller()
    if change == "language":
        job = replace(job, language="zh")
    elif change == "length":
        job = replace(job, length="label")
    elif change == "captioner":
        teller.name = "another"
    else:
        Image.new("RGB", (9, 9), "white").save(folder / "a.png")
    captions = caption_folder(job, teller)
    assert len(teller.seen) == (2 if change == "picture" else 5)
    if change == "picture":
        assert captions["a.png"] == "a picture, (255, 255, 255)"


@pytest.mark.parametrize("damage", ["", "[" * 100_000, "null\n3\n", '{"captioner": "x"}', "\0\ufffd"])
def test_damaged_notes_are_passed_over(folder, damage):
    (folder / NOTES).write_text(damage, encoding="utf-8")
    assert len(caption_folder(job_of(folder), Teller())) == 5


def test_a_line_that_was_cut_off_is_written_again(folder):
    for _ in range(2):  # two captions each time, of which the first time loses the last
        with pytest.raises(KeyboardInterrupt):
            caption_folder(job_of(folder), Teller(fails=2, stops=True))
        notes = (folder / NOTES).read_text(encoding="utf-8")
        if notes.count("\n") == 3:
            (folder / NOTES).write_text(notes[:-9], encoding="utf-8")
    teller = Teller()
    assert len(caption_folder(job_of(folder), teller)) == 5
    assert len(teller.seen) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "does not exist; give a folder of pictures"),
        (lambda folder: folder.write_text("x"), "is a file, not a folder"),
        (lambda folder: folder.mkdir(), "holds no pictures"),
    ],
)
def test_no_folder_of_pictures_is_refused(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(CourseError, match=message):
        caption_folder(job_of(tmp_path / "x"), Teller())


def test_a_damaged_picture_is_named_and_no_metadata_written(folder):
    (folder / "b.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(CourseError, match=r"b\.jpg"):
        caption_folder(job_of(folder), Teller())
    assert not (folder / "metadata.csv").exists()


def test_an_unknown_format_is_refused(folder):
    with pytest.raises(CourseError, match="format 'xml' is not one of csv, jsonl"):
        job_of(folder, format="xml")


def test_notes_say_what_they_are_of(folder):
    with pytest.raises(KeyboardInterrupt):
        caption_folder(job_of(folder), Teller(fails=4, stops=True))
    first = json.loads((folder / NOTES).read_text(encoding="utf-8").splitlines()[0])
    assert first == {"language": "en", "length": "sentence", "captioner": "teller"}
