"""Figures with axes: curves, timelines, where a sampler looks, and paths of one number through time."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import numpy as np
import torch
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.viz.canvas import (
    BLUE,
    COLOURS,
    INK,
    PAGE,
    PALE,
    SHADES,
    SOFT_INK,
    NotebookFigure,
    in_lines,
    in_style,
    rows_of_panels,
)

_CELLS = 160  # of a density over time, across
_LANES, _YEARS_A_LETTER = 7, 0.165  # of a timeline: heights for names, and how much room those take


@in_style
def curve_plot(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    log: str = "",
    dots: bool = False,
    pairs: bool = False,
    marks: Mapping[str, float] | None = None,
) -> NotebookFigure:
    """Curves by name, with a legend.

    Args:
        curves: x and y of each.
        log: axes with a logarithmic scale: "", "x", "y" or "xy".
        dots: mark the points: they were measured, and the lines between them are only a guide.
        pairs: every two curves share a colour, the first solid and the second dashed.
        marks: horizontal lines by name, such as a bound.

    Raises:
        CourseError: there is no curve.
    """
    if not curves:
        raise CourseError("there is no curve to draw")
    figure, (axis,) = rows_of_panels(1, 1, PAGE, 3.4)
    styles = ("-", "--") if pairs else ("-", "--", "-.")
    colours = np.repeat(COLOURS, 2) if pairs else COLOURS
    for (name, (x, y)), colour, style in zip(curves.items(), cycle(colours), cycle(styles)):
        axis.plot(x, y, style, color=colour, linewidth=1.8, marker="o" if dots else "", label=name)
    for (name, height), dashes in zip((marks or {}).items(), cycle((":", (0, (5, 3))))):
        axis.axhline(height, color=SOFT_INK, linewidth=1.2, linestyle=dashes, label=name)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if "x" in log:
        axis.set_xscale("log")
        if dots:
            measured = sorted({float(value) for x, _ in curves.values() for value in np.asarray(x)})
            axis.set_xticks(measured, [f"{value:g}" for value in measured])
            axis.minorticks_off()
    if "y" in log:
        axis.set_yscale("log")
    axis.grid(color=PALE, alpha=0.4, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@in_style
def timeline_plot(events: Sequence[tuple[str, str, str]], title: str) -> NotebookFigure:
    """A timeline, one colour for each family.

    Args:
        events: (month such as "2020-06", name, family), in order of time.

    Raises:
        CourseError: there is no event, or a month is not one.
    """
    if not events:
        raise CourseError("a timeline needs at least one event")
    families = list(dict.fromkeys(family for _, _, family in events))
    figure, (axis,) = rows_of_panels(1, 1, PAGE, 4.2)
    free = [0.0] * _LANES  # from which year on each height has room
    for month, name, family in events:
        when, colour = _year(month), COLOURS[families.index(family) % len(COLOURS)]
        lane = next((i for i, year in enumerate(free) if year <= when), int(np.argmin(free)))
        free[lane], height = when + 0.1 + _YEARS_A_LETTER * len(name), lane + 1
        axis.plot([when, when], [0, height], color=colour, linewidth=1, alpha=0.6)
        axis.plot(when, 0, "o", color=colour, markersize=6)
        # On white, so that other events' lines do not strike it out.
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axis.text(when + 0.06, height, name, color=colour, va="center", bbox=box)
    for family, colour in zip(families, cycle(COLOURS)):
        axis.plot([], [], "o", color=colour, label=family)
    first, last = int(_year(events[0][0])), int(_year(events[-1][0])) + 1
    axis.axhline(0, color=SOFT_INK, linewidth=1)
    axis.set(title=title, ylim=(-0.35, _LANES + 0.6), xlim=(first - 0.2, last + 1), yticks=[])
    axis.set_xticks(range(first, last + 1))
    axis.spines[["top", "left", "right", "bottom"]].set_visible(False)
    axis.legend(ncols=len(families), loc="upper center", bbox_to_anchor=(0.5, -0.1))
    return figure


@in_style
def timestep_plot(rows: Mapping[str, Tensor], num_train_timesteps: int, title: str) -> NotebookFigure:
    """Where samplers ask the model: one row of dots for each, on the axis of training timesteps.

    Raises:
        CourseError: there is no row.
    """
    if not rows:
        raise CourseError("there is no sampler to draw")
    figure, (axis,) = rows_of_panels(1, 1, PAGE, 0.9 + 0.32 * len(rows))
    for height, (timesteps, colour) in enumerate(zip(rows.values(), cycle(COLOURS))):
        axis.hlines(height, 0, num_train_timesteps - 1, color=PALE, linewidth=1)
        axis.plot(timesteps, [height] * len(timesteps), "o", color=colour, markersize=5)
    axis.axvline(num_train_timesteps - 1, color=SOFT_INK, linestyle="--", linewidth=1)
    axis.set(title=title, xlabel="timestep t (dashed: the last one of the training)")
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.spines[["top", "left", "right"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return figure


@torch.no_grad()
@in_style
def time_plot(
    panels: Mapping[str, tuple[ArrayLike, Tensor]],
    log_density: Callable[[Tensor, float], Tensor],
    *,
    end: float,
    xlabel: str,
    reach: float = 2.6,
) -> NotebookFigure:
    """Paths of one number through time, over the density that they all obey.

    Args:
        panels: times (N+1,) and paths (N+1, B) by title; the colours of eight paths differ.
        log_density: (x (M, 1), time) -> (M,), asked at times from 0 to `end`. Each moment is shaded by itself.

    Raises:
        CourseError: there is no panel.
    """
    if not panels:
        raise CourseError("a figure of paths needs at least one panel")
    x = torch.linspace(-reach, reach, _CELLS)[:, None]
    times = np.linspace(0, end, _CELLS)
    density = torch.stack([log_density(x, t).softmax(dim=0) for t in times.tolist()], dim=1)  # (x, time)
    density = density / density.amax(dim=0)
    # Coloured paths over all shades of blue are more colours than a palette has.
    figure, axes = rows_of_panels(len(panels), None, PAGE / len(panels), 2.7, pictures=True)
    for axis, (title, (moments, paths)) in zip(axes, panels.items(), strict=True):
        span = (0, end, -reach, reach)
        axis.imshow(density.numpy(), cmap=SHADES, extent=span, origin="lower", aspect="auto", alpha=0.8)
        moments = np.asarray(moments, dtype=float)
        lines = [np.column_stack([moments, path]) for path in paths.T.numpy()]
        colours = [INK, *(colour for colour in COLOURS if colour != BLUE)]  # blue is the density's
        axis.add_collection(LineCollection(lines, colors=colours, linewidths=1.3))
        axis.set(xlim=(0, end), ylim=(-reach, reach), xlabel=xlabel)
        axis.set_title(in_lines(title, PAGE / len(panels) - 0.5))
    axes[0].set_ylabel("x")
    return figure


def _year(month: str) -> float:
    """2020.5 of "2020-07"."""
    year, _, number = month.partition("-")
    if not (year.isdigit() and number.isdigit() and 1 <= int(number) <= 12):
        raise CourseError(f'"{month}" is not a month; write it as "2020-06"')
    return int(year) + (int(number) - 1) / 12
