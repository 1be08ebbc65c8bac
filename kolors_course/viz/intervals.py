"""Measured values with their intervals, a row for each contestant: what differs, and what only seems to."""

from collections.abc import Mapping, Sequence

from kolors_course.errors import CourseError
from kolors_course.viz.canvas import (
    BLUE,
    PAGE,
    PALE,
    RED,
    NotebookFigure,
    in_lines,
    in_style,
    rows_of_panels,
)

NAMES = 2.4  # inches beside the panels
ROW = 0.21  # inches
MOST_PANELS = 4


@in_style
def interval_plot(
    panels: Mapping[str, Sequence[tuple[float, float, float]]],
    names: Sequence[str],
    *,
    marked: Sequence[str] = (),
) -> NotebookFigure:
    """A panel for each measure, a row for each name: the value as a dot, its interval as a line.

    Args:
        panels: by title, (value, low, high) for each name.
        names: of the rows, from top to bottom.
        marked: names whose dots are red.

    Raises:
        CourseError: no panel, more than `MOST_PANELS`, or a panel with another number of values than names.
    """
    if not 1 <= len(panels) <= MOST_PANELS:
        raise CourseError(f"{len(panels)} panels of intervals; give 1 to {MOST_PANELS}")
    width = (PAGE - NAMES) / len(panels)
    figure, axes = rows_of_panels(len(panels), None, width, 0.8 + ROW * len(names))
    figure.set_figwidth(PAGE)
    for axis, (title, values) in zip(axes, panels.items(), strict=True):
        if len(values) != len(names):
            raise CourseError(f"{title}: {len(values)} values for {len(names)} names")
        for row, (name, (value, low, high)) in enumerate(zip(names, values, strict=True)):
            colour = RED if name in marked else BLUE
            axis.plot([low, high], [row, row], color=colour, linewidth=1.6, alpha=0.7)
            axis.plot(value, row, "o", color=colour, markersize=5)
        axis.set_title(in_lines(title, width))
        axis.set(yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axis.set_yticklabels(names if axis is axes[0] else [""] * len(names))
        axis.grid(axis="both", color=PALE, alpha=0.4, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    return figure
