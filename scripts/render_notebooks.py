"""Run notebooks from top to bottom and save their outputs, or only check what is saved.

    python scripts/render_notebooks.py                         # every notebook under notebooks/
    python scripts/render_notebooks.py notebooks/08_*.ipynb    # some
    python scripts/render_notebooks.py --check                 # run nothing

A notebook runs in its own folder, offline, without progress bars. It is saved only if every cell succeeded
and `problems` finds nothing, so a committed notebook is always complete, tidy and free of machine paths.
What not every machine can make is then kept for those that cannot: `stored_results.py`.
"""

import argparse
import ast
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from kernel_client import AttentiveManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, ValidationError
from notebook_form import METADATA, WIDGET_VIEW, tidied
from stored_results import half_lessons, keep_results

from kolors_course.files import atomic_path

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
MACHINE_PATH = re.compile(r"(?:/(?:home|Users|root|tmp|work|var/folders)/|[A-Z]:\\\\?Users\\)[^\s\"'<>)]*")
EMBEDDED_FILE = re.compile(r"base64,[A-Za-z0-9+/=\s\\]+")
# nbval reads both, but the comment stands where a learner reads.
CHECK_COMMENT, CHECK_TAG = "# NBVAL_CHECK_OUTPUT", "nbval-check-output"
SHOWS = {"print", "display", "show_stored"}
MAX_BYTES = 1_500_000
CELL_TIMEOUT = 900  # seconds
UNATTENDED = {
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TQDM_DISABLE": "1",
}


def find_notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """Every notebook below `folder`, without Jupyter's own backups."""
    return sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def execute(path: Path) -> NotebookNode:
    """Run the notebook at `path` in a fresh kernel and return it tidied.

    Raises:
        CellExecutionError, CellTimeoutError, DeadKernelError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=AttentiveManager,
        timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
    )
    # The committed outputs are those of the full lesson, not of the shortened run that the tests make, and of a
    # learner who has passed nothing yet.
    environment = {name: value for name, value in os.environ.items() if name != "KOLORS_COURSE_FAST"}
    with tempfile.TemporaryDirectory() as folder:
        progress = {"KOLORS_COURSE_PROGRESS": str(Path(folder) / "progress.json")}
        client.execute(env={**environment, **UNATTENDED, **progress})
    return tidied(notebook)


def problems(notebook: NotebookNode) -> list[str]:
    """What keeps `notebook` from being committed; empty when nothing does."""
    try:
        nbformat.validate(notebook)
    except ValidationError as error:
        return [f"not a valid notebook: {error.message}"]
    found = list(_problems_of_the_whole(notebook))
    for number, cell in enumerate(notebook.cells):
        found += [f"cell {number}: {problem}" for problem in _problems_of_a_cell(cell)]
    return found


def _problems_of_the_whole(notebook: NotebookNode) -> Iterator[str]:
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "its kernel is not python3"
    elif "widgets" in notebook.metadata:
        yield "it stores widget state"
    elif notebook.metadata != METADATA:
        yield "its metadata is not what `make render` and `make lab` write"
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        yield f"it was not run once from top to bottom: its execution counts are {counts}"
    if not any(re.search(r"^\s*(from|import) kolors_course\b", cell.source, re.MULTILINE) for cell in code):
        yield "it does not import kolors_course"
    for lesson in half_lessons(notebook):
        yield f"some results of lesson {lesson} are stored ones, and some of this run"
    size = len(nbformat.writes(notebook).encode())
    if size > MAX_BYTES:
        yield f"it has {size / 1e6:.2f} MB, more than {MAX_BYTES / 1e6:.1f}"


def _problems_of_a_cell(cell: NotebookNode) -> Iterator[str]:
    texts = [cell.source]
    if CHECK_COMMENT in cell.source:
        yield f"it is marked by a comment; give it the tag {CHECK_TAG}"
    if cell.cell_type == "code" and not cell.outputs and _would_show(cell.source):
        yield "it shows nothing, though it has something to show; what is missing here needs show_stored"
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
            yield f"it fails with {output.ename}"
        if output.get("name") == "stderr":
            yield f"it writes to stderr: {output.text.strip()[:200]}"
        if WIDGET_VIEW in data:
            yield "it stores a widget"
        yield from (
            f"a figure cannot be read: {fault}" for fault in output.get("metadata", {}).get("faults", [])
        )
        texts += [output.get("text", ""), "\n".join(output.get("traceback", []))]
        texts += [str(value) for kind, value in data.items() if not kind.startswith("image/")]
    for path in MACHINE_PATH.findall(EMBEDDED_FILE.sub("", "\n".join(texts))):
        yield f"it names a path of one machine: {path}"


def _would_show(source: str) -> bool:
    """Whether a cell ends in a value, or prints or displays one itself, be it under an `if`."""
    body = ast.parse(source).body
    if body and isinstance(body[-1], ast.Expr) and not isinstance(body[-1].value, ast.Call):
        return True
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SHOWS
        for statement in body
        for node in _run_at_once(statement)
    )


def _run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is in it, without the insides of functions and classes."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _run_at_once(child)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", type=Path, nargs="*", help="default: all")
    parser.add_argument("--check", action="store_true", help="run nothing, only look at what is saved")
    arguments = parser.parse_args()
    paths = [path.resolve() for path in arguments.notebooks] or find_notebooks()
    if not paths:
        print(f"no notebooks in {NOTEBOOKS}", file=sys.stderr)
        return 1
    good = [handle(path, arguments.check) for path in paths]
    return 0 if all(good) else 1


def handle(path: Path, check_only: bool) -> bool:
    """Check or render one notebook, say how it went, and return whether it went well."""
    start = time.monotonic()
    name = f"{path.parent.name}/{path.name}"  # English and Chinese notebooks share their file names
    try:
        notebook = nbformat.read(path, as_version=4) if check_only else execute(path)
    except (CellExecutionError, CellTimeoutError, DeadKernelError, OSError, ValueError) as error:
        print(f"{name}: FAILED\n{error}", flush=True)
        return False
    found = problems(notebook)
    if not found and not check_only:
        # First of all: their provenance asks whether anything was changed since the commit.
        keep_results(notebook, f"python scripts/render_notebooks.py {name}")
        with atomic_path(path) as temporary:
            nbformat.write(notebook, temporary)
    print(f"{name}: {'; '.join(found) or 'good'} ({time.monotonic() - start:.0f} s)", flush=True)
    return not found


if __name__ == "__main__":
    sys.exit(main())
