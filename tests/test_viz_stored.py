"""Stored results: shown under a line that says so, and one line where they are missing or damaged."""

import json
from base64 import b64decode
from io import BytesIO

import pytest
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.viz import stored
from kolors_course.viz.stored import read_results, show_stored

WRITTEN = {
    "made_by": "ComfyUI 9 <beta>, a machine",
    "provenance": {"command": "make it", "commit": "abc", "torch": "2.9"},
    "results": {
        "run": [{"text": "6 steps\n"}, {"picture": "run-2.png", "width": 40, "height": 30}],
        "recipe": [{"text": "seed 7"}],
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The stored results of lesson 99."""
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(tmp_path))
    place = tmp_path / "lessons" / "99"
    place.mkdir(parents=True)
    (place / "results.json").write_text(json.dumps(WRITTEN), encoding="utf-8")
    Image.new("RGB", (8, 6), "red").save(place / "run-2.png")
    return place


@pytest.fixture
def shown(monkeypatch):
    """What notebooks are given to show: (bundle, metadata)."""
    outputs = []
    monkeypatch.setattr(
        stored, "display", lambda bundle, raw, metadata: outputs.append((bundle, metadata)) or None
    )
    return outputs


def test_texts_and_pictures_are_shown_in_their_order_and_all_are_marked(folder, shown):
    show_stored("99", "run")
    assert [metadata["stored"] for _, metadata in shown] == ["99/run"] * 3
    _, (text, _), (picture, size) = shown
    assert text == {"text/plain": "6 steps"}
    assert size["image/png"] == {"width": 40, "height": 30, "unconfined": True}
    assert Image.open(BytesIO(b64decode(picture["image/png"]))).size == (8, 6)


def test_the_line_above_says_that_it_is_stored_and_by_what_it_was_made(folder, shown):
    show_stored("99", "recipe")
    line, _ = shown[0]
    for words in (
        "Stored result",
        "存好的结果",
        "ComfyUI 9 &lt;beta&gt;",
        "<li>commit: abc</li>",
        "torch: 2.9",
    ):
        assert words in line["text/markdown"]
    assert "make it" in line["text/plain"]


def without(name):
    return lambda folder: (folder / name).unlink()


def with_results(**changes):
    return lambda folder: (folder / "results.json").write_text(json.dumps(WRITTEN | changes))


def cut_short(folder):
    (folder / "run-2.png").write_bytes((folder / "run-2.png").read_bytes()[:50])


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (without("results.json"), "results.json does not exist"),
        (without("run-2.png"), "run-2.png does not exist"),
        (cut_short, "run-2.png cannot be decoded"),
        (lambda folder: (folder / "results.json").write_text("{"), "not JSON"),
        (with_results(results={}), "no stored result 'run'; get data/lessons again"),
        (with_results(results={"run": 5}), "damaged at results.run: a list"),
        (with_results(results={"run": [{"text": 5}]}), "damaged at results.run.0.text: a text"),
        (with_results(made_by=None), "damaged at made_by"),
    ],
)
def test_what_is_missing_or_damaged_is_told_in_one_line_and_the_lesson_goes_on(
    folder, shown, spoil, expected
):
    spoil(folder)
    show_stored("99", "run")
    ((bundle, metadata),) = shown
    assert expected in bundle["text/plain"]
    assert "\n" not in bundle["text/plain"]
    assert metadata["stored"] == "99/run"


def test_who_reads_them_gets_an_error(folder):
    assert read_results("99").results["recipe"][0].text == "seed 7"
    with pytest.raises(CourseError, match="98/results.json does not exist"):
        read_results("98")
