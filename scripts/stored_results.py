"""Keep what notebooks show of things that not every machine has, for machines without.

    if client:
        ...                                # what needs a server
    else:
        show_stored("12", "run")           # what it gave where there was one

When `render_notebooks.py` has run such a cell with all that it needs, what the cell showed becomes the stored result,
with its provenance: `data/lessons/12/`. Nothing is kept of a run in which a result was missing.
"""

import ast
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from nbformat import NotebookNode

from kolors_course.comfyui.install import default_folder, find_installation
from kolors_course.files import atomic_path, ensure_folder, json_text
from kolors_course.platform.device import pick_device
from kolors_course.platform.provenance import provenance
from kolors_course.viz.stored import FILE, MARK, Piece, StoredResults, lesson_folder

Outputs = list[NotebookNode]


def results_of(notebook: NotebookNode) -> dict[tuple[str, str], Outputs]:
    """(lesson, name) of each `show_stored("lesson", "name")` -> what its cell showed."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return {key: cell.outputs for cell in cells for key in _keys(cell.source)}


def live_results(notebook: NotebookNode) -> dict[str, dict[str, Outputs]]:
    """Lesson -> name -> what was shown, of results that are of this run and not stored ones."""
    found: dict[str, dict[str, Outputs]] = {}
    for (lesson, name), outputs in results_of(notebook).items():
        if not any(MARK in output.get("metadata", {}) for output in outputs):
            found.setdefault(lesson, {})[name] = outputs
    return found


def half_lessons(notebook: NotebookNode) -> list[str]:
    """Lessons of which some results are of this run and some are not: they have no common provenance."""
    live = live_results(notebook)
    return sorted({lesson for lesson, name in results_of(notebook) if name not in live.get(lesson, {name})})


def keep_results(notebook: NotebookNode, command: str) -> None:
    """Store the live results of a notebook, which `command` has run."""
    for lesson, shown in live_results(notebook).items():
        facts = {name: value for name, value in provenance(pick_device()).items() if name != "threads"}
        machine = facts.pop("machine")
        comfyui = find_installation(default_folder())
        by = f"ComfyUI {comfyui.version}, " if comfyui else ""
        pieces, pictures = pieces_of(shown)
        write_results(lesson, StoredResults(by + machine, {"command": command, **facts}, pieces), pictures)


def pieces_of(
    results: Mapping[str, Outputs],
) -> tuple[dict[str, tuple[Piece, ...]], dict[str, bytes]]:
    """What cells showed, by name, as pieces; and the files of the pictures."""
    pictures: dict[str, bytes] = {}
    found = {}
    for name, outputs in results.items():
        pieces: list[Piece] = []
        for output in outputs:
            data = output.get("data", {})
            if "image/png" in data:
                file = f"{name}-{len(pieces) + 1}.png"
                pictures[file] = b64decode(data["image/png"])
                shown = output.metadata.get("image/png", {})
                pieces.append(Piece(picture=file, width=shown.get("width", 0), height=shown.get("height", 0)))
            else:
                pieces.append(Piece(text=output.get("text") or data["text/plain"]))
        found[name] = tuple(pieces)
    return found, pictures


def write_results(lesson: str, stored: StoredResults, pictures: Mapping[str, bytes]) -> None:
    """Write the results of a lesson in place of those that were there."""
    folder = ensure_folder(lesson_folder(lesson))
    for name, png in pictures.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(png)
    with atomic_path(folder / FILE) as temporary:
        temporary.write_text(json_text(_brief(stored), indent=1) + "\n", encoding="utf-8")
    for path in folder.glob("*.png"):
        if path.name not in pictures:
            path.unlink()


def _brief(stored: StoredResults) -> dict[str, Any]:
    value = asdict(stored)
    value["results"] = {
        name: [{key: entry for key, entry in piece.items() if entry} for piece in pieces]
        for name, pieces in value["results"].items()
    }
    return value


def _keys(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Name(id="show_stored"),
                args=[ast.Constant(value=str(lesson)), ast.Constant(value=str(name))],
            ):
                yield lesson, name
