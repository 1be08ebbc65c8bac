"""A ComfyUI workflow as a figure: what flows from where to where."""

import re
from collections.abc import Collection, Sequence
from typing import Any

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from kolors_course.comfyui.graph import ApiGraph
from kolors_course.comfyui.order import execution_order, sources
from kolors_course.comfyui.validate import title_of
from kolors_course.viz.canvas import LETTERS, PAGE, NotebookFigure, in_lines, in_style, rows_of_panels

WIDTH, NARROW = 1.9, 0.85  # inches, a node: in a small graph, and at least
GAP_X, GAP_Y = 0.32, 0.3
LINE = 0.17  # inches, a line of text
LANE = 0.16  # between the lanes above the nodes, one for each source of a link that would pass behind a node
CORNER = 0.1  # radius of its bends
PLAIN, MARKED = "#eef2f7", "#ffe08a"


@in_style
def workflow_plot(api: ApiGraph, marked: Collection[str] = ()) -> NotebookFigure:
    """The nodes of a workflow in columns: each to the right of all that it needs; those in `marked` are coloured.

    Raises:
        CourseError: the links run in a circle.
    """
    places = _places(api)
    columns = 1 + max(x for x, _ in places.values())
    rows = 1 + max(y for _, y in places.values())
    wide = min(WIDTH, max(NARROW, (PAGE - 0.3) / columns - GAP_X))
    texts = {key: _in_lines(f"{key} · {title_of(api[key])}", wide - 0.1) for key in places}
    high = LINE * (1 + max(text.count("\n") + 1 for text in texts.values()))
    boxes = {
        key: Bbox.from_bounds(x * (wide + GAP_X), -y * (high + GAP_Y), wide, high)
        for key, (x, y) in places.items()
    }
    links = [(source, key) for key, needs in sources(api).items() for source in needs]
    behind = [link for link in links if _hidden(*link, boxes)]
    # The outermost source has the top one.
    lanes = list(dict.fromkeys(source for source, _ in reversed(behind)))
    width, depth = columns * (wide + GAP_X) - GAP_X, (rows - 1) * (high + GAP_Y)
    top = high + LANE * (len(lanes) + 1 if lanes else 0)
    figure, (axis,) = rows_of_panels(1, 1, width + 0.3, top + depth + 0.3)
    style: dict[str, Any] = {"arrowstyle": "-|>", "color": "#667085", "mutation_scale": 10, "zorder": 0}
    for source, key in links:
        start, end = boxes[source], boxes[key]
        tail, head = (start.x1, start.y0 + high / 2), (end.x0, end.y0 + high / 2)
        hidden = (source, key) in behind
        path = _detour(tail, head, high, lanes.index(source)) if hidden else _swung(tail, head)
        axis.add_patch(FancyArrowPatch(path=path, shrinkA=0, shrinkB=0, **style))
    for key, box in boxes.items():
        colours: dict[str, Any] = {"fc": MARKED if key in marked else PLAIN, "ec": "#344054"}
        corner = f"round,pad=0,rounding_size={CORNER}"
        axis.add_patch(FancyBboxPatch((box.x0, box.y0), wide, high, corner, zorder=1, **colours))
        axis.text(box.x0 + wide / 2, box.y0 + high / 2, texts[key], ha="center", va="center")
    axis.set(xlim=(-0.1, width + 0.1), ylim=(-depth - 0.1, top + 0.1))
    axis.set_aspect("equal")
    axis.axis("off")
    return figure


def _in_lines(title: str, wide: float) -> str:
    """`title` in lines as wide as a node; long words, such as names of types, are broken before their capitals."""
    words = (
        re.sub("(?<=[a-z])(?=[A-Z][a-z])", " ", word) if len(word) > LETTERS * wide else word
        for word in title.split(" ")
    )
    return in_lines(" ".join(words), wide)


def _hidden(source: str, key: str, boxes: dict[str, Bbox]) -> bool:
    """Whether a straight link would pass behind another node."""
    start, end = boxes[source], boxes[key]
    slope = (end.y0 - start.y0) / (end.x0 - start.x1)
    return any(
        min(heights) < box.y1 and max(heights) > box.y0
        for box in boxes.values()
        if start.x0 < box.x0 < end.x0
        for heights in [[(start.y0 + start.y1) / 2 + slope * (at - start.x1) for at in (box.x0, box.x1)]]
    )


def _swung(tail: tuple[float, float], head: tuple[float, float]) -> Path:
    """An S that leaves and arrives level."""
    middle = (tail[0] + head[0]) / 2
    return Path([tail, (middle, tail[1]), (middle, head[1]), head], [Path.MOVETO, *[Path.CURVE4] * 3])


def _detour(tail: tuple[float, float], head: tuple[float, float], high: float, lane: int) -> Path:
    """A way above all nodes, which leaves and arrives a little above the other links."""
    out, back = tail[0] + 0.08 + 0.05 * lane, head[0] - 0.14 - 0.05 * lane
    height, rise = high + LANE * (lane + 1), high / 4
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
