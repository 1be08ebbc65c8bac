"""Controls over a figure: what is drawn, that work is shown, and what a saved notebook keeps."""

import pytest
from ipywidgets import Dropdown, IntSlider

from kolors_course.viz import explore
from kolors_course.viz.canvas import NotebookFigure


def drawing(seen, explorer):
    """Draws, and notes what the widget looks like meanwhile."""

    def draw(place, seed):
        if explorer:
            widget = explorer[0]
            seen.append((widget.note.value, [control.disabled for control in widget.kwargs_widgets]))
        figure = NotebookFigure(figsize=(1, 1))
        figure.text(0.1, 0.5, f"{place} {seed}", fontsize=9)
        return figure

    return draw


@pytest.fixture
def seen():
    return []


@pytest.fixture
def widget(seen):
    explorer = []
    options = {"place": Dropdown(options=["sea", "city"]), "seed": IntSlider(1, min=0, max=9)}
    explorer.append(explore.Explorer(drawing(seen, explorer), **options))
    return explorer[0]


def test_it_draws_what_the_controls_say(widget):
    assert widget.result.texts[0].get_text() == "sea 1"
    widget.kwargs_widgets[0].value = "city"
    widget.kwargs_widgets[1].value = 7
    assert widget.result.texts[0].get_text() == "city 7"


def test_while_it_draws_it_says_so_and_its_controls_rest(widget, seen):
    widget.kwargs_widgets[1].value = 2
    assert seen == [(explore.BUSY, [True, True])]
    assert widget.note.value == ""
    assert not any(control.disabled for control in widget.kwargs_widgets)


def test_after_an_error_the_controls_work_again():
    def draw(seed):
        raise ValueError("no picture")

    widget = explore.Explorer(draw, seed=IntSlider(1))
    assert not widget.kwargs_widgets[0].disabled
    assert "image/png" not in widget._repr_mimebundle_()[0]


def test_a_saved_notebook_keeps_the_figure_of_the_last_values(widget):
    first = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in first[0]
    assert first[1]["image/png"] == {"width": 96, "height": 96, "unconfined": True}
    widget.kwargs_widgets[0].value = "city"
    assert widget._repr_mimebundle_()[0]["image/png"] not in (None, first[0]["image/png"])


def test_as_a_decorator_it_is_shown_and_the_function_stays_a_function(monkeypatch):
    shown = []
    monkeypatch.setattr(explore, "display", shown.append)

    @explore.explore(seed=IntSlider(3))
    def draw(seed):
        return NotebookFigure(figsize=(seed, 1))

    assert [type(widget) for widget in shown] == [explore.Explorer]
    assert draw(2).get_figwidth() == 2
