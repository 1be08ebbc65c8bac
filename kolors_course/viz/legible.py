"""Whether a figure can be read: are its texts large enough, whole, and apart? Measured as it is drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SMALLEST = 9.0  # points, where 72 are an inch
_SLACK = 0.06  # of the type size: boxes of letters have some air


@dataclass(frozen=True)
class DrawnText:
    """One line of text where it was drawn; `size` in points, `box` in pixels of the figure."""

    text: str
    size: float
    box: Bbox


class TextRecorder(RendererAgg):
    """Draws a figure, and notes every line of text that it draws.

    Attributes:
        texts: in the order of drawing.
    """

    def __init__(self, width: float, height: float, dpi: float):
        super().__init__(width, height, dpi)
        self.texts: list[DrawnText] = []

    def draw_text(
        self,
        gc: Any,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        """As `RendererAgg.draw_text`."""
        width, height, descent = self.get_text_width_height_descent(s, prop, ismath)
        flat = Bbox([[x, self.height - y - descent], [x + width, self.height - y - descent + height]])
        if angle % 180 == 90:  # all others are flat here; upright text grows to the left of its baseline
            left = x - height + descent
            flat = Bbox([[left, self.height - y], [left + height, self.height - y + width]])
        if s.strip():
            self.texts.append(DrawnText(s, prop.get_size_in_points(), flat))
        super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)

    def clear(self) -> None:
        """Start anew."""
        self.texts = []
        super().clear()


def faults_of(figure: Figure, recorder: TextRecorder, shrunk: float = 1.0) -> list[str]:
    """What makes a drawn figure hard to read; empty when nothing does.

    Args:
        recorder: what has just drawn it.
        shrunk: how much smaller it is shown than its size in inches says.
    """
    faults = []
    for drawn in recorder.texts:
        if drawn.size * shrunk < SMALLEST - 1e-6:
            faults.append(
                f'"{drawn.text}" is shown at {drawn.size * shrunk:.1f} pt; {SMALLEST:g} can be read'
            )
        if any(low < -0.5 for low in drawn.box.min) or any(
            high > end + 0.5
            for high, end in zip(drawn.box.max, (recorder.width, recorder.height), strict=True)
        ):
            faults.append(f'"{drawn.text}" is cut off')
    inner = [(drawn.text, _without_air(drawn, figure.dpi)) for drawn in recorder.texts]
    for (one, box), (other, other_box) in combinations(inner, 2):
        if box.overlaps(other_box):
            faults.append(f'"{one}" and "{other}" lie upon one another')
    for legend in _legends(figure):
        frame, names = legend.get_window_extent(), [text.get_text() for text in legend.get_texts()]
        lines = {line for text in legend.findobj(Text) for line in text.get_text().splitlines()}
        if any(frame.overlaps(axis.get_window_extent()) for axis in figure.axes if axis.get_visible()):
            faults.append(f"the legend {_quoted(names)} lies upon curves")
        if covered := [text for text, box in inner if text not in lines and frame.overlaps(box)]:
            faults.append(f"the legend {_quoted(names)} lies upon {_quoted(covered)}")
    return faults


def _without_air(drawn: DrawnText, dpi: float) -> Bbox:
    air = _SLACK * drawn.size * dpi / 72
    (left, bottom), (right, top) = drawn.box.get_points()
    return Bbox([[left + air, bottom + air], [right - air, top - air]])


def _legends(figure: Figure) -> list[Legend]:
    return [*figure.legends, *(legend for axis in figure.axes if (legend := axis.get_legend()))]


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)
