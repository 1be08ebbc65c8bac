"""The one form in which a notebook of this repository lies on the disk, whoever saved it.

    python scripts/notebook_form.py < saved.ipynb > tidy.ipynb     # a filter for git, see CONTRIBUTING.md

`make render` writes this form. In `make lab` JupyterLab does, too (`CourseFiles`): opening a notebook leaves it as it
was, and saving it changes what was changed and nothing else. JupyterLab by itself marks a notebook as unsaved when
another version of Python ran it last; and of a widget it stores the number that it had in its kernel. Once that
kernel is gone, "model not found" is all that is shown, even where a picture was stored beside the number.
"""

import platform
import sys
from typing import Any

import nbformat
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbformat import NotebookNode

# As JupyterLab writes it, but for the version of Python.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
KEPT_CELL_METADATA = ("tags", "jupyter")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def tidied(notebook: NotebookNode) -> NotebookNode:
    """`notebook`, changed in place: only the metadata that a reader needs, and nothing that dies with its kernel."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {name: value for name, value in cell.metadata.items() if name in KEPT_CELL_METADATA}
        )
    return without_widgets(notebook)


def without_widgets(notebook: NotebookNode) -> NotebookNode:
    """`notebook`, changed in place: no widgets. Of one that brings a picture of itself, the picture stays."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for output in cell.outputs:
                if "image/png" in (data := output.get("data", {})):
                    data.pop(WIDGET_VIEW, None)
            cell.outputs = [output for output in cell.outputs if WIDGET_VIEW not in output.get("data", {})]
    return notebook


class CourseFiles(AsyncLargeFileManager):
    """What JupyterLab reads and writes files with in `make lab`."""

    async def get(self, path: str, *args: Any, **options: Any) -> dict[str, Any]:
        """A file; a notebook as if this Python had run it last."""
        model = await super().get(path, *args, **options)
        if _is_notebook(model) and model["content"].metadata.get("language_info", {}).get("name") == "python":
            model["content"].metadata.language_info.setdefault("version", platform.python_version())
        return model

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Write a file; a notebook without widgets and without the version of Python."""
        if _is_notebook(model):
            notebook = without_widgets(nbformat.from_dict(model["content"]))
            notebook.metadata.get("language_info", {}).pop("version", None)
            model = {**model, "content": notebook}
        return await super().save(model, path)


def _is_notebook(model: dict[str, Any]) -> bool:
    return model.get("type") == "notebook" and model.get("content") is not None


if __name__ == "__main__":
    nbformat.write(tidied(nbformat.reads(sys.stdin.read(), as_version=4)), sys.stdout)
