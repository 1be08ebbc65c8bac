"""Whether a file can be written, asked beforehand; and what is never overwritten."""

import argparse
import os

import pytest

from kolors_course.cli.flags.outputs import output_file, output_folder
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, check_output

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_question_leaves_nothing_behind(tmp_path):
    (tmp_path / "there").mkdir()
    before = tree(tmp_path)
    for name in ("a.json", "there/a.json", "new/deep/a.json", "名字 with spaces.png"):
        check_output(tmp_path / name)
    assert tree(tmp_path) == before
    assert output_folder(str(tmp_path / "new" / "deep")) == tmp_path / "new" / "deep"
    assert tree(tmp_path) == before


def test_an_existing_file_may_be_replaced_and_stays(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    check_output(path)
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "is a folder; give the name of a file"),
        ("file/x/a.json", "cannot write to"),
        ("new/file/" + "x" * 300 + "/a.json", "cannot write to"),
        ("x" * 230 + ".json", "cannot write to"),
        pytest.param(
            "locked/a.json",
            "cannot write to",
            marks=pytest.mark.skipif(AS_ROOT, reason="root may write anywhere"),
        ),
    ],
)
def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0o500)
    before = tree(tmp_path)
    for ask in (check_output, lambda path: atomic_path(path).__enter__()):
        with pytest.raises(CourseError, match=said):
            ask(tmp_path / name)
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        output_file()(str(tmp_path / name))
    assert {entry for entry in tree(tmp_path) if not entry.startswith("new")} == set(before)


def test_the_name_that_is_asked_about_is_the_one_that_is_written(tmp_path):
    """The longest name that is let through can be written."""
    longest = max(length for length in range(200, 256) if _allowed(tmp_path / ("x" * (length - 4) + ".png")))
    with atomic_path(tmp_path / ("x" * (longest - 4) + ".png")) as temporary:
        temporary.touch()


def _allowed(path) -> bool:
    try:
        check_output(path)
    except CourseError:
        return False
    return True


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="there are no devices in folders here")
def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(CourseError, match="is a device, not a file"):
        check_output("/dev/null")
    with pytest.raises(CourseError, match="is a device, not a file"), atomic_path("/dev/null"):
        pass
    assert not os.path.isfile("/dev/null")


def test_an_ending_that_means_nothing_is_refused(tmp_path):
    kind = output_file(".png", ".jpg")
    assert kind(str(tmp_path / "a.JPG")) == tmp_path / "a.JPG"
    for name in ("a.gif", "a", ""):
        with pytest.raises(argparse.ArgumentTypeError, match=r"ends in \.png, \.jpg"):
            kind(name)
