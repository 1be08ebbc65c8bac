"""Every committed notebook is complete, tidy and portable; and the checker would notice if it were not."""

import nbformat
import notebook_form
import pytest
import render_notebooks
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

NOTEBOOKS = render_notebooks.find_notebooks()


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_no_problems(path):
    assert render_notebooks.problems(nbformat.read(path, as_version=4)) == []


def good_notebook():
    cells = [
        new_markdown_cell("# A lesson"),
        new_code_cell("import kolors_course", execution_count=1),
        new_code_cell("print(6 * 7)", execution_count=2, outputs=[new_output("stream", text="42\n")]),
    ]
    return new_notebook(cells=cells, metadata=notebook_form.METADATA)


def outputs(*found):
    def spoil(notebook):
        notebook.cells[2].outputs = list(found)

    return spoil


def source(text):
    def spoil(notebook):
        notebook.cells[1].source = text

    return spoil


def metadata(**changes):
    return lambda notebook: notebook.metadata.update(changes)


def unrun(notebook):
    notebook.cells[2].execution_count = None


def shuffled(notebook):
    notebook.cells[1].execution_count, notebook.cells[2].execution_count = 2, 1


def invalid(notebook):
    notebook.cells[0].cell_type = "poem"


def half_stored(notebook):
    for name, metadata in {"run": {"stored": "12/run"}, "recipe": {}}.items():
        shown = new_output("display_data", data={"text/plain": name}, metadata=metadata)
        count = len(notebook.cells)
        notebook.cells.append(
            new_code_cell(f'show_stored("12", "{name}")', execution_count=count, outputs=[shown])
        )


BLURRED = new_output("display_data", data={"image/png": "AA"}, metadata={"faults": ["3 pt"]})
WIDGET = new_output("display_data", data={notebook_form.WIDGET_VIEW: {"model_id": "0"}})
PATHS = ("/home/ada/x.png", "/Users/ada/x.png", "/root/x", "/tmp/x", r"C:\Users\ada")


def test_a_good_notebook_passes():
    assert render_notebooks.problems(good_notebook()) == []


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (invalid, "not a valid notebook"),
        (metadata(kernelspec={"name": "conda-env", "display_name": "x"}), "kernel is not python3"),
        (metadata(widgets={}), "widget state"),
        (metadata(language_info={"name": "python"}), "not what `make render`"),
        (source("# NBVAL_CHECK_OUTPUT\nimport kolors_course"), "the tag nbval-check-output"),
        (unrun, "not run once"),
        (shuffled, "not run once"),
        (source("import numpy"), "does not import kolors_course"),
        (outputs(new_output("error", ename="KeyError", evalue="", traceback=[])), "fails with KeyError"),
        (outputs(new_output("stream", name="stderr", text="UserWarning")), "stderr: UserWarning"),
        (outputs(), "it shows nothing"),
        (outputs(WIDGET), "stores a widget"),
        (half_stored, "lesson 12 are stored ones, and some of this run"),
        (outputs(BLURRED), "a figure cannot be read: 3 pt"),
        (outputs(new_output("stream", text="x" * render_notebooks.MAX_BYTES)), "MB"),
        *((outputs(new_output("stream", text=f"saved {path}")), "path of one machine") for path in PATHS),
        (source("import kolors_course\nopen('/home/ada/x')"), "path of one machine"),
    ],
)
def test_each_problem_is_found(spoil, expected):
    notebook = good_notebook()
    spoil(notebook)
    found = render_notebooks.problems(notebook)
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("source", "empty"),
    [
        ("if client:\n    print(1)", True),
        ("if client:\n    for a in b:\n        display(a)", True),
        ("x = 1\nx", True),
        ("figure.axes", True),
        ("def f():\n    print(1)", False),
        ("print_later = lambda: print(1)", False),
        ("start()", False),
    ],
)
def test_a_cell_that_has_something_to_show_must_not_be_empty(source, empty):
    notebook = good_notebook()
    notebook.cells[2] = new_code_cell(source, execution_count=2)
    assert bool(render_notebooks.problems(notebook)) == empty


@pytest.mark.parametrize(
    "data", [{"image/png": "AAA/tmp/AAAA"}, {"text/html": "<img src='data:image/png;base64,AA/tmp/AA='>"}]
)
def test_pictures_are_not_taken_for_paths(data):
    notebook = good_notebook()
    notebook.cells[2].outputs = [new_output("display_data", data=data)]
    assert render_notebooks.problems(notebook) == []


def test_a_tagged_error_is_meant():
    notebook = good_notebook()
    notebook.cells[2].outputs = [new_output("error", ename="KeyError", evalue="", traceback=[])]
    notebook.cells[2].metadata.tags = ["raises-exception"]
    assert render_notebooks.problems(notebook) == []


def test_tidying_keeps_tags_and_text_and_drops_the_rest():
    notebook = good_notebook()
    notebook.metadata.widgets = {}
    notebook.cells[2].metadata = {"tags": ["a"], "execution": {"iopub.busy": "now"}}
    notebook.cells[2].outputs.append(WIDGET)
    tidy = notebook_form.tidied(nbformat.from_dict(notebook))
    assert render_notebooks.problems(tidy) == []
    assert tidy.cells[2].metadata == {"tags": ["a"]}
    assert [output.output_type for output in tidy.cells[2].outputs] == ["stream"]


def test_of_a_widget_with_a_picture_of_itself_the_picture_stays():
    notebook = good_notebook()
    both = {**WIDGET.data, "image/png": "iVBORw0KGgo="}
    notebook.cells[2].outputs = [new_output("execute_result", data=both, execution_count=2)]
    tidy = notebook_form.tidied(notebook)
    assert [dict(output.data) for output in tidy.cells[2].outputs] == [{"image/png": "iVBORw0KGgo="}]
    assert render_notebooks.problems(tidy) == []


def test_backups_of_jupyter_are_not_notebooks(tmp_path):
    for name in ("a.ipynb", ".ipynb_checkpoints/a-checkpoint.ipynb", "zh/a.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert render_notebooks.find_notebooks(tmp_path) == [tmp_path / "a.ipynb", tmp_path / "zh" / "a.ipynb"]


def test_rendering_runs_in_the_folder_of_the_notebook_and_saves(tmp_path):
    path = tmp_path / "lesson.ipynb"
    code = "import kolors_course\nimport os\nprint(os.path.basename(os.getcwd()), os.environ['TQDM_DISABLE'])"
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), path)
    assert render_notebooks.handle(path, check_only=False)
    assert nbformat.read(path, as_version=4).cells[0].outputs[0].text == f"{tmp_path.name} 1\n"


def test_a_notebook_with_problems_is_not_saved(tmp_path, monkeypatch):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(good_notebook(), path)
    before = path.read_bytes()
    spoilt = good_notebook()
    unrun(spoilt)
    monkeypatch.setattr(render_notebooks, "execute", lambda _: spoilt)
    assert not render_notebooks.handle(path, check_only=False)
    assert path.read_bytes() == before


def test_checking_runs_nothing(tmp_path, monkeypatch):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(good_notebook(), path)
    monkeypatch.delattr(render_notebooks, "execute")
    assert render_notebooks.handle(path, check_only=True)
