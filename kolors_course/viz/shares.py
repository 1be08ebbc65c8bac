"""Measured shares with their intervals, one below the other."""

from collections.abc import Mapping
from itertools import cycle

from kolors_course.errors import CourseError
from kolors_course.evaluation import Interval
from kolors_course.viz.canvas import COLOURS, PAGE, PALE, NotebookFigure, in_style, rows_of_panels

_ROW = 0.34  # inches


@in_style
def share_plot(groups: Mapping[str, Mapping[str, Interval]], *, title: str, xlabel: str) -> NotebookFigure:
    """A row for each measured thing, in it a dot and a bar for each group.

    Args:
        groups: by name of the group, intervals by name of the thing; the same things in all.

    Raises:
        CourseError: there is no group, or they measure different things.
    """
    rows = next((list(group) for group in groups.values()), [])
    if not rows or any(list(group) != rows for group in groups.values()):
        raise CourseError("intervals are compared of the same things in every group, and of one at least")
    figure, (axis,) = rows_of_panels(1, 1, PAGE, 0.9 + _ROW * len(rows))
    for place, ((name, group), colour) in enumerate(zip(groups.items(), cycle(COLOURS))):
        shift = (place - (len(groups) - 1) / 2) * 0.6 / len(groups)
        values = [group[row] for row in rows]
        arms = [[v.value - v.low for v in values], [v.high - v.value for v in values]]
        heights = [i + shift for i in range(len(rows))]
        axis.errorbar(
            [v.value for v in values], heights, xerr=arms, fmt="o", markersize=4, color=colour, label=name
        )
    axis.set(title=title, xlabel=xlabel, yticks=range(len(rows)), yticklabels=rows)
    axis.invert_yaxis()
    axis.grid(axis="x", color=PALE, alpha=0.4, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
