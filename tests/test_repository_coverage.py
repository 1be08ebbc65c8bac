"""docs/coverage.md gives every topic of the camp a place, and the places are there."""

import re
from collections import defaultdict
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = {path.stem[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
COMING = {"11"}  # notebooks that rows may promise
TOPICS = [f"C{number:02}" for number in range(1, 29)]

ROW = re.compile(r"^\| (C\d\d) \| (.+?) \| (.+?) \| (.+) \|$", re.MULTILINE)
PLACE = re.compile(r"\[(\d\d) · (.+?)\]\(\.\./notebooks/([\w.]+)\)")
PROMISE = re.compile(r"(\d\d) [\w ]+ \(coming\)")


def table() -> list[tuple[str, str, str, str]]:
    return ROW.findall((ROOT / "docs" / "coverage.md").read_text(encoding="utf-8"))


def places() -> list[tuple[str, str, str, str]]:
    """(topic, number, heading, file) of every place in the table."""
    return [(topic, *place) for topic, _, _, where in table() for place in PLACE.findall(where)]


def text_of(number: str) -> str:
    notebook = nbformat.read(NOTEBOOKS[number], as_version=4)
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_every_topic_has_one_row_in_order():
    assert [topic for topic, *_ in table()] == TOPICS


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_every_row_is_nothing_but_places_and_promises(row):
    parts = row[3].split(", ") if "](" not in row[3] else re.split(r", (?=\[|\d\d )", row[3])
    assert parts
    assert all(PLACE.fullmatch(part) or PROMISE.fullmatch(part) for part in parts), parts


@pytest.mark.parametrize("place", places(), ids=lambda place: f"{place[0]}-{place[1]}")
def test_the_section_is_there(place):
    _, number, heading, file = place
    assert NOTEBOOKS[number].name == file
    assert re.search(rf"^#+ {re.escape(heading)}$", text_of(number), re.MULTILINE), f"no section {heading!r}"


def test_what_is_promised_is_still_coming():
    promised = {number for *_, where in table() for number in PROMISE.findall(where)}
    assert promised <= COMING
    assert not COMING & NOTEBOOKS.keys(), (
        "a notebook has come: give its rows the section, and take it off the list"
    )


def test_notebooks_name_the_topics_that_the_table_gives_them():
    given = defaultdict(set)
    for topic, number, *_ in places():
        given[number].add(topic)
    for number in NOTEBOOKS:
        named = re.search(r"<!-- camp topics: ([C\d ]+) -->", text_of(number))
        assert named, f"notebook {number} has no line with its camp topics"
        assert set(named[1].split()) == given[number], number
