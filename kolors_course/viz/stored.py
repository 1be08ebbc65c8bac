"""Results that a notebook shows where what makes them is missing: ComfyUI, a GPU, full Kolors.

They lie in `data/lessons/<lesson>/`: results.json says where they come from and has their texts; pictures lie beside.
`make render` keeps there what the cells showed that have a `show_stored` in them.
"""

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from IPython.display import display

from kolors_course.dataset import open_picture
from kolors_course.errors import CourseError
from kolors_course.files import read_text
from kolors_course.platform.paths import data_dir
from kolors_course.untrusted import Integer, Text, parse_json, read_as
from kolors_course.viz.canvas import shown_at

FILE = "results.json"
MARK = "stored"  # in the metadata of every output that is not of this run
MOST_BYTES = 2**20
AGAIN = "get data/lessons again: git checkout -- data/lessons"


@dataclass(frozen=True)
class Piece:
    """What a cell showed at one time: a text, or a PNG.

    Attributes:
        picture: the name of its file.
        width, height: of the picture on the page, in a browser's pixels.
    """

    text: Text = ""
    picture: Text = ""
    width: Integer = 0
    height: Integer = 0


@dataclass(frozen=True)
class StoredResults:
    """The results of a lesson by name.

    Attributes:
        made_by: what they needed, such as a program with its version, and the machine.
        provenance: command, commit, versions.
    """

    made_by: Text
    provenance: dict[Text, Any]
    results: dict[Text, tuple[Piece, ...]]


def lesson_folder(lesson: str) -> Path:
    """Where the stored results of a lesson lie."""
    return data_dir() / "lessons" / lesson


def read_results(lesson: str) -> StoredResults:
    """The stored results of a lesson, such as "12".

    Raises:
        CourseError: there are none, or they are damaged.
    """
    path = lesson_folder(lesson) / FILE
    text = read_text(path, MOST_BYTES, f"the stored results of lesson {lesson}: {AGAIN}")
    return read_as(StoredResults, parse_json(text, str(path)), str(path), AGAIN)


def show_stored(lesson: str, name: str) -> None:
    """Show a stored result in a notebook, under a line that says so and opens to its provenance.

    Where it is missing or damaged, one line tells that instead: a lesson goes on.
    """
    try:
        stored = read_results(lesson)
        if name not in stored.results:
            raise CourseError(f"lesson {lesson} has no stored result {name!r}; {AGAIN}")
        shown = [_origin(stored), *(_bundle(lesson, piece) for piece in stored.results[name])]
    except CourseError as error:
        shown = [({"text/plain": f"There is no stored result to show. {error}"}, {})]
    for bundle, metadata in shown:
        display(bundle, raw=True, metadata={MARK: f"{lesson}/{name}", **metadata})


def _bundle(lesson: str, piece: Piece) -> tuple[dict[str, str], dict[str, Any]]:
    """A piece as Jupyter shows it, with its metadata.

    Raises:
        CourseError: its picture is missing or damaged.
    """
    if not piece.picture:
        return {"text/plain": piece.text.rstrip("\n")}, {}
    path = lesson_folder(lesson) / piece.picture
    open_picture(path)
    return {
        "image/png": b64encode(path.read_bytes()).decode(),
        "text/plain": f"<{piece.picture}>",
    }, {"image/png": shown_at(piece.width, piece.height)}


def _origin(stored: StoredResults) -> tuple[dict[str, str], dict[str, Any]]:
    line = f"Stored result, not from this run: {stored.made_by}"
    facts = [f"{name}: {value}" for name, value in stored.provenance.items()]
    listed = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    markdown = (
        f"<details><summary><b>Stored result</b>, not from this run: {escape(stored.made_by)} · "
        f"<b>存好的结果</b>，不是这次运行得出的</summary><ul>{listed}</ul></details>"
    )
    return {"text/markdown": markdown, "text/plain": "\n".join([line, *facts])}, {}
