"""A ComfyUI workflow as a figure: what flows from where to where."""

from collections.abc import Collection

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from kolors_course.comfyui.graph import ApiGraph
from kolors_course.comfyui.order import execution_order, sources
from kolors_course.comfyui.validate import title_of

WIDTH, HEIGHT = 1.9, 0.7  # inches, one node
GAP_X, GAP_Y = 0.7, 0.45
PLAIN, MARKED = "#eef2f7", "#ffe08a"


def workflow_plot(api: ApiGraph, marked: Collection[str] = ()) -> Figure:
    """The nodes of a workflow in columns: each to the right of all that it needs; those in `marked` are coloured.

    Raises:
        CourseError: the links run in a circle.
    """
    places = _places(api)
    columns = 1 + max(x for x, _ in places.values())
    rows = 1 + max(y for _, y in places.values())
    size = (columns * (WIDTH + GAP_X), rows * (HEIGHT + GAP_Y))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    corners = {key: (x * (WIDTH + GAP_X), -y * (HEIGHT + GAP_Y)) for key, (x, y) in places.items()}
    for key, needs in sources(api).items():
        for source in needs:
            start, end = corners[source], corners[key]
            arrow = {"arrowstyle": "-|>", "color": "#667085", "connectionstyle": "arc3,rad=0.08"}
            tail = (start[0] + WIDTH, start[1] + HEIGHT / 2)
            axis.annotate("", (end[0], end[1] + HEIGHT / 2), tail, arrowprops=arrow, zorder=0)
    for key, (x, y) in corners.items():
        colour = MARKED if key in marked else PLAIN
        box = FancyBboxPatch(
            (x, y), WIDTH, HEIGHT, "round,pad=0,rounding_size=0.1", fc=colour, ec="#344054", zorder=1
        )
        axis.add_patch(box)
        text = f"{key} · {title_of(api[key])}"
        axis.text(
            x + WIDTH / 2,
            y + HEIGHT / 2,
            text,
            ha="center",
            va="center",
            fontsize=8 if len(text) < 24 else 6.5,
        )
    axis.set(xlim=(-0.1, size[0] - GAP_X + 0.1), ylim=(-(rows - 1) * (HEIGHT + GAP_Y) - 0.1, HEIGHT + 0.1))
    axis.set_aspect("equal")
    axis.axis("off")
    plt.close(figure)  # else a notebook would show it twice
    return figure


def _places(api: ApiGraph) -> dict[str, tuple[int, int]]:
    """Column and row of each node: one column further than the furthest node it needs."""
    needs, columns, filled = sources(api), {}, {}
    places = {}
    for key in execution_order(api):
        columns[key] = 1 + max((columns[source] for source in needs[key]), default=-1)
        places[key] = (columns[key], filled.get(columns[key], 0))
        filled[columns[key]] = places[key][1] + 1
    return places
