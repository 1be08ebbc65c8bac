"""Figures of a sweep: what changes, one panel a quantity, when one setting does."""

from collections.abc import Mapping, Sequence
from itertools import cycle

from kolors_course.errors import CourseError
from kolors_course.viz.canvas import (
    COLOURS,
    PAGE,
    PALE,
    SOFT_INK,
    NotebookFigure,
    in_lines,
    in_style,
    legends,
    rows_of_panels,
)

WIDEST = 1.5  # a panel alone takes the page by this, with the legend beside it
LEGEND = 1.8  # inches of the row that it and the numbers beside the panels take


@in_style
def sweep_plot(
    settings: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    xlabel: str,
    log: bool = False,
    marks: Mapping[str, float] | None = None,
    ylim: tuple[float, float] | None = None,
) -> NotebookFigure:
    """Measured curves over one setting, side by side.

    Args:
        settings: where it was measured.
        panels: by title, curves by name: a value for each setting.
        log: logarithmic axis of the setting.
        marks: settings to mark with a vertical line, by name.
        ylim: of all panels; None fits each to its curves.

    Raises:
        CourseError: there is no panel, or a curve has another number of values than settings.
    """
    if not panels:
        raise CourseError("a sweep needs at least one panel")
    for title, curves in panels.items():
        for name, values in curves.items():
            if len(values) != len(settings):
                raise CourseError(f"{title}, {name}: {len(values)} values for {len(settings)} settings")
    width = PAGE / max(WIDEST, len(panels))
    figure, axes = rows_of_panels(len(panels), None, width, 2.9)
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for (name, values), colour in zip(curves.items(), cycle(COLOURS)):
            axis.plot(settings, values, "o-", color=colour, linewidth=1.8, markersize=4, label=name)
        for (name, setting), dashes in zip((marks or {}).items(), cycle(("--", ":", "-."))):
            axis.axvline(setting, color=SOFT_INK, linestyle=dashes, linewidth=1.2, label=name)
        if log:
            axis.set_xscale("log")
            axis.set_xticks(settings, [f"{setting:g}" for setting in settings])
            axis.minorticks_off()
        axis.set(xlabel=xlabel, ylim=ylim)
        axis.set_title(in_lines(title, width - LEGEND / len(panels)))
        axis.grid(color=PALE, alpha=0.4, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    legends(figure, axes)
    return figure
