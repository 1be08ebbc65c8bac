"""A small lesson in a real JupyterLab in a real browser. `make test-browser` does the same with the real lessons."""

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_notebook, new_output
from notebook_form import METADATA, WIDGET_VIEW

from kolors_course.viz.film import film
from kolors_course.viz.plane import Panel, plane_plot

FIGURE = """
from ipywidgets import Dropdown, IntSlider
from torch import full
from kolors_course.viz.explore import explore
from kolors_course.viz.film import film
from kolors_course.viz.plane import Panel, plane_plot

def figure(n):
    return plane_plot([Panel(f"at {n}", points=full((1, 2), n / 10))])
"""
EXPLORER = """
@explore(n=IntSlider(1, min=0, max=4), side=Dropdown(options={"left": -1, "right": 1}))
def show(n, side):
    return figure(n * side)
"""
FILM = "film(figure(n) for n in range(4))"
WAIT = """
import time
time.sleep(600)
"""


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    from lab import running_lab

    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    with running_lab(browser, folder) as lab:
        yield lab


@pytest.fixture
def opened(lab, request):
    """Opens a lesson with these cells; a text is a code cell."""
    name = f"{request.node.name}.ipynb"

    def write_and_open(*cells, trusted=False):
        cells = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
        notebook = new_notebook(cells=cells, metadata=METADATA)
        nbformat.write(notebook, lab.folder / "notebooks" / name)
        if trusted:
            NotebookNotary(data_dir=str(lab.folder / ".jupyter" / "data")).sign(notebook)
        return lab.opened(name)

    return write_and_open


def test_opening_and_saving_change_nothing(opened):
    with opened("6 * 7") as lesson:
        lesson.settle()
        before = lesson.path.read_bytes(), lesson.path.stat().st_mtime_ns
        assert not lesson.marked_unsaved
        lesson.save()
        assert lesson.path.read_bytes() == before[0]
        assert lesson.path.stat().st_mtime_ns > before[1], "it was not saved at all"


def test_widgets_and_films_answer_and_leave_pictures(opened, lab, tmp_path):
    from lab_widgets import films, use_film, use_widget, widgets

    with opened(FIGURE, EXPLORER, FILM) as lesson:
        lesson.run_all()
        assert [(cell.count, cell.error) for cell in lesson.cells()] == [(1, None), (2, None), (3, None)]
        (widget,), (film,) = widgets(lesson).values(), films(lesson)
        use_widget(lesson, widget)
        use_film(film)
        lesson.wear("Dark")
        lesson.look(tmp_path, "dark", 700)
        assert (tmp_path / "dark-1.png").is_file()
        lesson.save()
        lesson.end_kernel()
    with lab.opened(lesson.path.name) as again:
        assert not again.broken_displays()
        assert not widgets(again)
        _, explorer, film = again.outputs()
        assert [output.locator("img").count() for output in (explorer, film)] == [1, 1]


def test_what_a_widget_without_its_kernel_leaves_is_seen(opened):
    dead = {WIDGET_VIEW: {"model_id": "0", "version_major": 2, "version_minor": 0}}
    lost = new_code_cell("IntSlider()", outputs=[new_output("display_data", dead)])
    with opened(lost, trusted=True) as lesson:  # else JupyterLab shows nothing in its place
        lesson.page.get_by_text("Error displaying").wait_for()
        assert lesson.broken_displays()


def test_a_film_that_is_not_trusted_says_so(opened):
    html = film(plane_plot([Panel(title)]) for title in "ab")._repr_html_()
    with opened(new_code_cell("film", outputs=[new_output("display_data", {"text/html": html})])) as lesson:
        lesson.page.get_by_text("Run this cell, or trust the notebook").wait_for()
        assert lesson.page.locator(".film button").count() == 0


def test_a_cell_that_fails_and_those_behind_it_are_seen(opened):
    with opened("1 / 0", "6 * 7") as lesson:
        lesson.run_all()
        failed, behind = lesson.cells()
        assert "division by zero" in failed.error
        assert behind.count is None


def test_after_an_interrupt_the_kernel_works(opened):
    with opened("x = 6", WAIT, "x * 7") as lesson:
        lesson.interrupt_after(1)
        first, interrupted, behind = lesson.cells()
        assert (first.error, behind.count) == (None, None)
        assert interrupted.error.startswith("KeyboardInterrupt")
        lesson.do("jupyterapp.shell.currentWidget.content.activeCellIndex = 2")
        lesson.choose("Run", "runmenu:run")
        lesson.page.get_by_text("42", exact=True).wait_for()
