"""A ComfyUI workflow as a figure: what flows from where to where."""

from collections.abc import Collection, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from kolors_course.comfyui.graph import ApiGraph
from kolors_course.comfyui.order import execution_order, sources
from kolors_course.comfyui.validate import title_of

WIDTH, HEIGHT = 1.9, 0.7  # inches, one node
GAP_X, GAP_Y = 0.7, 0.45
LANE = 0.16  # between the lanes above the nodes, one for each source of a link that would pass behind a node
CORNER = 0.1  # radius of its bends
PLAIN, MARKED = "#eef2f7", "#ffe08a"


def workflow_plot(api: ApiGraph, marked: Collection[str] = ()) -> Figure:
    """The nodes of a workflow in columns: each to the right of all that it needs; those in `marked` are coloured.

    Raises:
        CourseError: the links run in a circle.
    """
    places = _places(api)
    columns = 1 + max(x for x, _ in places.values())
    rows = 1 + max(y for _, y in places.values())
    corners = {key: (x * (WIDTH + GAP_X), -y * (HEIGHT + GAP_Y)) for key, (x, y) in places.items()}
    links = [(source, key) for key, needs in sources(api).items() for source in needs]
    behind = [link for link in links if _hidden(*link, corners)]
    # The outermost source has the top one.
    lanes = list(dict.fromkeys(source for source, _ in reversed(behind)))
    width, depth = columns * (WIDTH + GAP_X) - GAP_X, (rows - 1) * (HEIGHT + GAP_Y)
    top = HEIGHT + LANE * (len(lanes) + 1 if lanes else 0)
    size = (width + GAP_X, top + depth + GAP_Y)
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    style: dict[str, Any] = {"arrowstyle": "-|>", "color": "#667085", "mutation_scale": 10, "zorder": 0}
    for source, key in links:
        start, end = corners[source], corners[key]
        tail, head = (start[0] + WIDTH, start[1] + HEIGHT / 2), (end[0], end[1] + HEIGHT / 2)
        if (source, key) in behind:
            path = _detour(tail, head, lanes.index(source))
            axis.add_patch(FancyArrowPatch(path=path, shrinkA=0, shrinkB=0, **style))
        else:
            curve: dict[str, Any] = {"shrinkA": 0, "shrinkB": 0, "connectionstyle": "arc3,rad=0.08"}
            axis.add_patch(FancyArrowPatch(tail, head, **curve, **style))
    for key, (x, y) in corners.items():
        colour = MARKED if key in marked else PLAIN
        box = FancyBboxPatch(
            (x, y), WIDTH, HEIGHT, "round,pad=0,rounding_size=0.1", fc=colour, ec="#344054", zorder=1
        )
        axis.add_patch(box)
        title = title_of(api[key])
        text = f"{key} · {title}" if len(title) < 22 else f"{key} ·\n{title}"
        axis.text(
            x + WIDTH / 2,
            y + HEIGHT / 2,
            text,
            ha="center",
            va="center",
            fontsize=8,
        )
    axis.set(xlim=(-0.1, width + 0.1), ylim=(-depth - 0.1, top + 0.1))
    axis.set_aspect("equal")
    axis.axis("off")
    plt.close(figure)  # else a notebook would show it twice
    return figure


def _hidden(source: str, key: str, corners: dict[str, tuple[float, float]]) -> bool:
    """Whether a straight link would pass behind another node."""
    (x0, y0), (x1, y1) = corners[source], corners[key]
    slope = (y1 - y0) / (x1 - x0 - WIDTH)
    between = [(x, y) for x, y in corners.values() if x0 < x < x1]
    return any(
        min(heights) < y + HEIGHT and max(heights) > y
        for x, y in between
        for heights in [[y0 + HEIGHT / 2 + slope * (at - x0 - WIDTH) for at in (x, x + WIDTH)]]
    )


def _detour(tail: tuple[float, float], head: tuple[float, float], lane: int) -> Path:
    """A way above all nodes, which leaves and arrives a little above the other links."""
    out, back = tail[0] + 0.15 + 0.1 * lane, head[0] - 0.25 - 0.1 * lane
    height, rise = HEIGHT + LANE * (lane + 1), HEIGHT / 4
    return _rounded(
        [
            (tail[0], tail[1] + rise),
            (out, tail[1] + rise),
            (out, height),
            (back, height),
            (back, head[1] + rise),
            (head[0], head[1] + rise),
        ]
    )


def _rounded(points: Sequence[tuple[float, float]]) -> Path:
    """Straight lines between `points`, along the axes, with round corners."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points[:-2], points[1:-1], points[2:], strict=True):
        near = [_towards(corner, before), corner, _towards(corner, after)]
        vertices += near
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The point `CORNER` before `corner` on the way from `other`."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    share = min(CORNER / max(abs(dx), abs(dy)), 0.5)
    return corner[0] + share * dx, corner[1] + share * dy


def _places(api: ApiGraph) -> dict[str, tuple[int, int]]:
    """Column and row of each node: one column further than the furthest node it needs."""
    needs = sources(api)
    columns: dict[str, int] = {}
    filled: dict[int, int] = {}
    places = {}
    for key in execution_order(api):
        columns[key] = 1 + max((columns[source] for source in needs[key]), default=-1)
        places[key] = (columns[key], filled.get(columns[key], 0))
        filled[columns[key]] = places[key][1] + 1
    return places
