"""What notebooks show where ComfyUI is missing: kept as they showed it where it was not."""

import nbformat
import pytest
import render_notebooks
import stored_results
import torch
from lessons import needed
from nbformat.v4 import new_code_cell, new_notebook, new_output

from kolors_course.viz import stored
from kolors_course.viz.stored import lesson_folder, read_results

PATHS = render_notebooks.find_notebooks()
PNG = "iVBORw0KGgo="
LIVE = [
    new_output("stream", text="6 steps\n"),
    new_output(
        "display_data",
        data={"image/png": PNG},
        metadata={"image/png": {"width": 4, "height": 3, "unconfined": True}, "faults": []},
    ),
]
MARKED = [new_output("display_data", data={"text/plain": "6 steps"}, metadata={"stored": "99/run"})]


def lesson(**outputs):
    """A notebook with a cell for each result."""
    cells = [
        new_code_cell(f'if client:\n    run()\nelse:\n    show_stored("99", "{name}")', outputs=shown)
        for name, shown in outputs.items()
    ]
    return new_notebook(cells=[new_code_cell("client = None"), *cells])


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(tmp_path))
    return tmp_path


def test_what_cells_showed_is_kept_with_its_provenance(data):
    stored_results.keep_results(lesson(run=LIVE), "make it")
    kept = read_results("99")
    text, picture = kept.results["run"]
    assert text.text == "6 steps\n"
    assert (picture.picture, picture.width, picture.height) == ("run-2.png", 4, 3)
    assert (lesson_folder("99") / "run-2.png").read_bytes().startswith(b"\x89PNG")
    assert kept.provenance["command"] == "make it"
    assert {"commit", "torch", "kolors_course"} <= kept.provenance.keys()
    assert "cores of" in kept.made_by


def test_pictures_of_results_that_are_gone_go_too(data):
    stored_results.keep_results(lesson(run=LIVE, old=LIVE), "make it")
    stored_results.keep_results(lesson(run=LIVE), "make it")
    assert [path.name for path in sorted(lesson_folder("99").iterdir())] == ["results.json", "run-2.png"]


def test_stored_results_are_not_kept_as_new_ones(data):
    stored_results.keep_results(lesson(run=MARKED), "make it")
    assert not list(data.iterdir())


def test_half_a_lesson_has_no_provenance():
    assert stored_results.half_lessons(lesson(run=MARKED, recipe=LIVE)) == ["99"]
    assert not stored_results.half_lessons(lesson(run=MARKED, recipe=MARKED))
    assert not stored_results.half_lessons(lesson(run=LIVE, recipe=LIVE))


def stored_names(path):
    return stored_results.results_of(nbformat.read(path, as_version=4))


def test_notebook_12_has_stored_results():
    (path,) = (path for path in PATHS if path.stem.startswith("12"))
    assert {"run", "similar-or-equal", "recipe", "my-node"} <= {name for _, name in stored_names(path)}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_result_is_stored_and_is_what_the_committed_notebook_shows(path):
    notebook = nbformat.read(path, as_version=4)
    for lesson_name, name in stored_names(path):
        assert name in read_results(lesson_name).results
    for lesson_name, shown in stored_results.live_results(notebook).items():
        pieces, pictures = stored_results.pieces_of(shown)
        assert read_results(lesson_name).results == pieces
        files = {file.name: file.read_bytes() for file in lesson_folder(lesson_name).glob("*.png")}
        assert files == pictures


@pytest.mark.parametrize("path", [path for path in PATHS if stored_names(path)], ids=lambda path: path.stem)
def test_without_what_is_missing_every_such_cell_shows_its_stored_result(path, monkeypatch):
    """In quick mode there is no server; only the cells run that these need."""
    shown = []
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("KOLORS_COURSE_FAST", "1")
    monkeypatch.setattr(
        stored, "display", lambda bundle, raw, metadata: shown.append((metadata["stored"], bundle))
    )
    cells = nbformat.read(path, as_version=4).cells
    sources = [cell.source if cell.cell_type == "code" else "" for cell in cells]
    wanted = {number for number, source in enumerate(sources) if "show_stored(" in source}
    scope, threads = {"__name__": "__main__"}, torch.get_num_threads()
    try:
        for number in needed(sources, wanted):
            exec(compile(sources[number], f"cell {number}", "exec"), scope)
    finally:
        torch.set_num_threads(threads)
    for lesson_name, name in stored_names(path):
        mine = [bundle for mark, bundle in shown if mark == f"{lesson_name}/{name}"]
        assert "Stored result" in mine[0]["text/plain"]
        assert len(mine) == 1 + len(read_results(lesson_name).results[name])
