"""Figures of intervals: a row for each contestant, and readable."""

import pytest

from kolors_course.errors import CourseError
from kolors_course.viz.intervals import interval_plot

NAMES = ["world", "template, attention in her box", "LoRA 4"]
ROWS = [(1.0, 0.9, 1.1), (0.4, 0.2, 0.5), (0.7, 0.7, 0.7)]


def test_every_value_has_its_dot_and_its_line():
    figure = interval_plot({"coat": ROWS, "look": ROWS, "facts right": ROWS}, NAMES, marked=["LoRA 4"])
    figure.drawn()
    assert figure.faults() == []
    for axis in figure.axes:
        lines, dots = axis.lines[::2], axis.lines[1::2]
        assert [list(line.get_xdata()) for line in lines] == [[low, high] for _, low, high in ROWS]
        assert [dot.get_xdata()[0] for dot in dots] == [value for value, _, _ in ROWS]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == NAMES
    assert figure.axes[0].lines[-1].get_color() != figure.axes[0].lines[0].get_color()


@pytest.mark.parametrize("panels", [{}, {"coat": ROWS[:2]}, {str(i): ROWS for i in range(5)}])
def test_what_cannot_be_drawn_is_refused(panels):
    with pytest.raises(CourseError):
        interval_plot(panels, NAMES)
