"""Figures of the plane: clouds of points, densities, velocities and paths, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.viz.canvas import (
    BLUE,
    COLOURS,
    INK,
    PAGE,
    PALE,
    RED,
    SHADES,
    SMALLEST,
    NotebookFigure,
    in_lines,
    in_style,
    rows_of_panels,
)

_CELLS, _ARROWS = 90, 15  # a side of the grid for densities, and for arrows
_LINE = 0.2  # inches, one line of a title
_SHADE_POWER = 0.6  # below 1: thin places stay visible beside dense ones


@dataclass(frozen=True, eq=False)
class Panel:
    """One view of the plane; whatever is given is drawn, from back to front.

    Attributes:
        title: above the panel.
        log_density: points (B, 2) -> log density (B,); shaded.
        paths: (N+1, B, 2): B paths, drawn from a ring to a dot.
        points: (B, 2): dots.
        labels: (B,) of whole numbers: the colour of each dot; None for one colour.
        arrows: points (B, 2) -> vectors (B, 2); drawn on a grid, lengths true to each other.
    """

    title: str
    log_density: Callable[[Tensor], Tensor] | None = None
    paths: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None
    arrows: Callable[[Tensor], Tensor] | None = None


@in_style
def plane_plot(
    panels: Sequence[Panel], *, columns: int | None = None, side: float = 2.2, reach: float = 2.4
) -> NotebookFigure:
    """Panels in rows, all showing the square from -reach to reach.

    Args:
        columns: panels in a row; all in one row when None.
        side: inches of one panel; less where a row would not fit on the page.

    Raises:
        CourseError: there is no panel.
    """
    if not panels:
        raise CourseError("a figure of the plane needs at least one panel")
    columns = columns or len(panels)
    side = min(side, PAGE / columns)
    titles = [in_lines(panel.title, side) for panel in panels]
    height = side + _LINE * max(title.count("\n") + 1 for title in titles)
    figure, axes = rows_of_panels(len(panels), columns, side, height)
    for axis, panel, title in zip(axes, panels, titles, strict=True):
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        axis.set_title(title, fontsize=SMALLEST, color=INK)
        axis.spines[:].set_color(PALE)
        _draw(axis, panel, reach)
    return figure


@torch.no_grad()
def _draw(axis: Axes, panel: Panel, reach: float) -> None:
    if panel.log_density is not None:
        x = _grid(_CELLS, reach)
        density = panel.log_density(x).exp().reshape(_CELLS, _CELLS).T  # rows are y in a picture
        span = (-reach, reach, -reach, reach)
        axis.imshow(
            (density**_SHADE_POWER).numpy(),
            cmap=SHADES,
            extent=span,
            origin="lower",
            interpolation="bilinear",
        )
    if panel.paths is not None:
        lines = panel.paths.transpose(0, 1)  # (B, N+1, 2)
        axis.add_collection(LineCollection(list(lines.numpy()), colors=BLUE, linewidths=0.8, alpha=0.5))
        x, y = lines[:, 0].T
        axis.scatter(x, y, s=12, facecolors="white", edgecolors=INK, linewidths=0.7, zorder=2)
        x, y = lines[:, -1].T
        axis.scatter(x, y, s=9, color=RED, linewidths=0, zorder=3)
    if panel.points is not None:
        size = 5 if len(panel.points) > 200 else 14
        colour: dict[str, Any] = {"color": RED if panel.log_density is not None else INK}
        if panel.labels is not None:
            colour = {"c": panel.labels % len(COLOURS), "cmap": ListedColormap(COLOURS), "vmin": 0, "vmax": 7}
        x, y = panel.points.T
        axis.scatter(x, y, s=size, alpha=0.55, linewidths=0, **colour)
    if panel.arrows is not None:
        x = _grid(_ARROWS, 0.94 * reach)
        axis.quiver(*x.T, *panel.arrows(x).T, color=RED, angles="xy", width=0.006, pivot="tail")


def _grid(cells: int, reach: float) -> Tensor:
    """(cells², 2), x first."""
    axis = torch.linspace(-reach, reach, cells)
    return torch.cartesian_prod(axis, axis)
