"""A notebook has one form on the disk: what `make render` writes is what JupyterLab writes in `make lab`."""

import asyncio
import platform
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import notebook_form
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

PICTURE = {"image/png": "iVBORw0KGgo="}
WIDGET = {notebook_form.WIDGET_VIEW: {"model_id": "0", "version_major": 2, "version_minor": 0}}


def shown(data):
    return new_output("display_data", data=data)


def a_notebook():
    cells = [new_markdown_cell("# A lesson"), new_code_cell("6 * 7", execution_count=1)]
    return new_notebook(cells=cells, metadata=notebook_form.METADATA)


@pytest.fixture
def files(tmp_path):
    nbformat.write(a_notebook(), tmp_path / "lesson.ipynb")
    return notebook_form.CourseFiles(root_dir=str(tmp_path))


def opened(files):
    return asyncio.run(files.get("lesson.ipynb"))


def save(files, model):
    asyncio.run(files.save(model, "lesson.ipynb"))


def test_opening_and_saving_leaves_every_byte(files, tmp_path):
    before = (tmp_path / "lesson.ipynb").read_bytes()
    model = opened(files)
    # What JupyterLab compares with what the kernel tells; where it differs, the notebook is marked as unsaved.
    assert model["content"].metadata.language_info.version == platform.python_version()
    save(files, model)
    assert (tmp_path / "lesson.ipynb").read_bytes() == before


def test_of_a_saved_widget_its_picture_is_what_is_opened_again(files):
    model = opened(files)
    model["content"].cells[1].outputs = [shown(WIDGET | PICTURE), shown(WIDGET)]
    model["content"].metadata.widgets = {}
    save(files, model)
    again = opened(files)["content"]
    assert [output.data for output in again.cells[1].outputs] == [PICTURE]
    assert "widgets" not in again.metadata
    # The page that saved keeps its own.
    assert len(model["content"].cells[1].outputs[0].data) == 2


def test_a_learners_own_notebook_keeps_its_kernel_and_metadata(files, tmp_path):
    own = new_notebook(
        cells=[new_code_cell("1", metadata={"slideshow": {"slide_type": "slide"}})],
        metadata={"kernelspec": {"name": "ir", "display_name": "R"}, "language_info": {"name": "R"}},
    )
    nbformat.write(own, tmp_path / "lesson.ipynb")
    before = (tmp_path / "lesson.ipynb").read_bytes()
    save(files, opened(files))
    assert (tmp_path / "lesson.ipynb").read_bytes() == before


def test_other_files_and_folders_are_none_of_its_business(files, tmp_path):
    (tmp_path / "note.txt").write_text("a")
    model = asyncio.run(files.get("note.txt"))
    asyncio.run(files.save(model | {"content": "b"}, "note.txt"))
    assert (tmp_path / "note.txt").read_text() == "b"
    assert {entry["name"] for entry in asyncio.run(files.get(""))["content"]} >= {"note.txt", "lesson.ipynb"}


def test_make_lab_reads_and_writes_with_it():
    root = Path(notebook_form.__file__).parents[1]
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    module, name = re.findall(r"contents_manager_class=(\S+)\.(\w+)", makefile)[0]
    # As `python -m jupyterlab` finds it: from the folder where make runs it.
    code = f"from {module} import {name}; print({name}.__mro__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert "AsyncLargeFileManager" in done.stdout


def test_the_filter_for_git_writes_the_same_form():
    spoilt = a_notebook()
    spoilt.metadata.language_info.version = "3.10.1"
    spoilt.cells[1].metadata = {"execution": {"iopub.busy": "now"}, "tags": ["nbval-check-output"]}
    spoilt.cells[1].outputs = [shown(WIDGET)]
    done = subprocess.run(
        [sys.executable, notebook_form.__file__],
        input=nbformat.writes(spoilt),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    tidy = a_notebook()
    tidy.cells[1].metadata = {"tags": ["nbval-check-output"]}
    for cell, other in zip(tidy.cells, spoilt.cells, strict=True):
        cell.id = other.id
    assert done.stdout == nbformat.writes(tidy) + "\n"


@pytest.mark.parametrize("tags", [[], ["nbval-check-output"]])
def test_nbval_compares_the_cells_that_the_tag_marks(tags, tmp_path):
    notebook = a_notebook()
    wrong = new_output("execute_result", data={"text/plain": "43"}, execution_count=1)
    notebook.cells[1].outputs, notebook.cells[1].metadata.tags = [wrong], tags
    nbformat.write(notebook, tmp_path / "lesson.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
    done = subprocess.run([*command, "lesson.ipynb"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (1 if tags else 0), done.stdout
