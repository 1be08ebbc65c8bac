"""Figures of notebook 07: measured shares with their intervals, and boxes upon pictures."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from kolors_course.evaluation.intervals import Interval
from kolors_course.viz.canvas import BLUE, PAGE, SOFT_INK, NotebookFigure, in_style, rows_of_panels

_ROW, _REST = 0.26, 0.75  # inches: of a row, and of title and axis


@in_style
def interval_plot(
    rows: Mapping[str, Mapping[str, Interval]], questions: Mapping[str, str], title: str
) -> NotebookFigure:
    """A panel for each question, with a dot for each row and its 95 % interval as a line.

    Args:
        rows: name -> question -> share; a row may lack a question.
        questions: question -> what its panel is called.
    """
    height = _REST + _ROW * len(rows)
    figure, axes = rows_of_panels(len(questions), None, PAGE / len(questions), height)
    places = range(len(rows) - 1, -1, -1)
    for axis, (question, name) in zip(axes, questions.items(), strict=True):
        for y, row in zip(places, rows.values(), strict=True):
            if question in row:
                share = row[question]
                axis.plot([share.low, share.high], [y, y], color=SOFT_INK, linewidth=1.5)
                axis.plot([share.value], [y], "o", color=BLUE, markersize=5)
        axis.set(title=name, xlim=(-0.03, 1.03), ylim=(-0.6, len(rows) - 0.4), xticks=[0, 0.5, 1])
        axis.set_xticklabels(["0", ".5", "1"])
        axis.grid(axis="x", alpha=0.3)
        axis.set_yticks(list(places), list(rows) if axis is axes[0] else [""] * len(rows))
    figure.suptitle(title)
    return figure


def with_boxes(
    picture: Image.Image, boxes: Sequence[tuple[float, float, float, float]], colour: str = BLUE
) -> Image.Image:
    """A copy with boxes drawn upon it: left, top, right, bottom in parts of its sides."""
    framed = picture.convert("RGB")
    draw = ImageDraw.Draw(framed)
    for left, top, right, bottom in boxes:
        corners = (
            left * framed.width,
            top * framed.height,
            right * framed.width - 1,
            bottom * framed.height - 1,
        )
        draw.rectangle(corners, outline=colour, width=max(1, framed.width // 64))
    return framed
