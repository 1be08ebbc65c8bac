"""Figures of the plane: clouds of points, densities, velocities and paths, side by side."""

from collections.abc import Callable, Mapping, Sequence
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
_INSIDE = 0.94  # of the plane has arrows
_MOST, _STRIDE = 0.9, 1.3  # this share of all arrows is at most so many steps of the grid long
_LINE = 0.2  # inches, one line of a title
_SHADE_POWER = 0.6  # below 1: thin places stay visible beside dense ones


@dataclass(frozen=True, eq=False)
class Panel:
    """One view of the plane; whatever is given is drawn, from back to front.

    Attributes:
        title: above the panel.
        log_density: points (B, 2) -> log density (B,); shaded.
        paths: (N+1, B, 2): B paths, drawn from a ring to a dot. Up to eight have a colour each, so that one can be
            followed through the others.
        points: (B, 2): dots.
        labels: (B,) of whole numbers: the colour of each dot; None for one colour.
        arrows: points (B, 2) -> vectors (B, 2); drawn on a grid, lengths true to each other in all panels.
    """

    title: str
    log_density: Callable[[Tensor], Tensor] | None = None
    paths: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None
    arrows: Callable[[Tensor], Tensor] | None = None


@torch.no_grad()
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
    _draw_arrows(
        {axis: panel.arrows for axis, panel in zip(axes, panels, strict=True) if panel.arrows}, reach
    )
    return figure


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
        _draw_paths(axis, panel.paths.transpose(0, 1), shaded=panel.log_density is not None)
    if panel.points is not None:
        size = 5 if len(panel.points) > 200 else 14
        colour: dict[str, Any] = {"color": RED if panel.log_density is not None else INK}
        if panel.labels is not None:
            colour = {"c": panel.labels % len(COLOURS), "cmap": ListedColormap(COLOURS), "vmin": 0, "vmax": 7}
        x, y = panel.points.T
        axis.scatter(x, y, s=size, alpha=0.55, linewidths=0, **colour)


def _draw_paths(axis: Axes, lines: Tensor, shaded: bool) -> None:
    """Lines (B, N+1, 2), from rings to dots."""
    colours: Any = INK if shaded else BLUE
    edges: Any = INK
    ends: Any = RED
    size, strength = 9, 0.5
    if len(lines) <= len(COLOURS):
        colours = edges = ends = list(COLOURS[: len(lines)])
        size, strength = 16, 0.8
    axis.add_collection(LineCollection(list(lines.numpy()), colors=colours, linewidths=0.8, alpha=strength))
    x, y = lines[:, 0].T
    axis.scatter(x, y, s=12, facecolors="white", edgecolors=edges, linewidths=0.9, zorder=2)
    x, y = lines[:, -1].T
    axis.scatter(x, y, s=size, color=ends, linewidths=0, zorder=3)


def _draw_arrows(fields: Mapping[Axes, Callable[[Tensor], Tensor]], reach: float) -> None:
    """Fields on one scale, so that an arrow twice as long is twice as much in any panel."""
    if not fields:
        return
    spots = _grid(_ARROWS, _INSIDE * reach)
    vectors = [field(spots) for field in fields.values()]
    usual = torch.cat(vectors).norm(dim=1).quantile(_MOST).clamp(min=1e-9)
    step = 2 * _INSIDE * reach / (_ARROWS - 1)
    for axis, field in zip(fields, vectors, strict=True):
        axis.quiver(
            *(*spots.T, *field.T),
            color=RED,
            width=0.006,
            angles="xy",
            scale_units="xy",
            scale=float(usual) / (_STRIDE * step),
        )


def _grid(cells: int, reach: float) -> Tensor:
    """(cells², 2), x first."""
    axis = torch.linspace(-reach, reach, cells)
    return torch.cartesian_prod(axis, axis)
