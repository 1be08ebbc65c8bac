"""What all figures of the notebooks share: their style, how they are shown, colours, and rows of equal panels."""

import unicodedata
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from kolors_course.viz.legible import SMALLEST, TextRecorder, faults_of

INK, SOFT_INK, PALE, RED, BLUE = "#1f2430", "#667085", "#b9c2d0", "#c81420", "#1f5fa8"
# Neighbours in this list stay apart for colour-blind readers too: they differ in brightness.
COLOURS = (RED, BLUE, "#e08a00", "#3b8f3e", "#7a4fb0", "#16a0a0", "#b0478f", "#8a6a3a")
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#dbe7f5", "#8fb8e0", "#2f6fb5", "#123a6b"])

PAGE = 8.0  # inches: what a notebook has room for in a window of 1280 px; wider figures would be shrunk
SHOWN_DPI = 96  # a browser's inch
PICTURE = 128 / SHOWN_DPI  # inches: a picture at the size in which Kolors-mini draws it
HEADING = 10.0  # points
LETTERS = 12  # half-width ones that fit over one inch in the smallest type
# Pixels saved for each that is shown: screens have up to two. Drawn pictures have no more to show.
_SHARP, _PICTURES_SHARP = 1.5, 1.25
# Colours of a saved figure, which then takes a third of the bytes; more where pictures are shown.
_PALETTE, _PICTURES_PALETTE = 128, 256

# A decorator: in functions that draw, texts have these sizes if they are given none.
in_style = matplotlib.rc_context(
    {
        "font.size": SMALLEST,
        "figure.titlesize": HEADING,
        "axes.titlesize": HEADING,
        "axes.labelsize": SMALLEST,
        "xtick.labelsize": SMALLEST,
        "ytick.labelsize": SMALLEST,
        "legend.fontsize": SMALLEST,
        "legend.frameon": False,
        "legend.borderpad": 0.0,
    }
)


class NotebookFigure(Figure):
    """A figure that a notebook shows at its size in inches, sharp on fine screens, and the same bytes each time.

    Args:
        pictures: it shows pictures, whose colours must stay true.
    """

    def __init__(self, *, pictures: bool = False, **options: Any):
        super().__init__(**options, dpi=SHOWN_DPI * (_PICTURES_SHARP if pictures else _SHARP))
        self.pictures = pictures
        self._drawer = _Canvas(self)

    def drawn(self) -> Image.Image:
        """The figure as a picture, at `dpi`."""
        self._drawer.draw()
        return Image.fromarray(np.array(self._drawer.buffer_rgba())[..., :3])

    def faults(self) -> list[str]:
        """What makes the figure hard to read as it was last drawn; see `faults_of`."""
        return faults_of(self, self._drawer.get_renderer(), min(1.0, PAGE / self.get_figwidth()))

    def _ipython_display_(self) -> None:
        """Show it by what `_repr_mimebundle_` says, whatever printer matplotlib has registered for figures.

        It does so when pyplot or the first widget is used; figures below would be larger and unmeasured.
        """
        from IPython.display import display  # notebooks have it; who only draws need not

        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """For the notebook. Faults are noted beside the picture, where `make render` finds them."""
        file = BytesIO()
        _packed(self.drawn(), self.pictures).save(file, "png", optimize=True)
        width, height = (round(SHOWN_DPI * inches) for inches in self.get_size_inches())
        metadata: dict[str, Any] = {"image/png": shown_at(width, height)}
        if faults := self.faults():
            metadata["faults"] = faults
        return {"image/png": b64encode(file.getvalue()).decode(), "text/plain": repr(self)}, metadata


def shown_at(width: int, height: int) -> dict[str, Any]:
    """Metadata of a figure that is always shown at this size, in a browser's pixels.

    Where a window is narrower, JupyterLab scrolls it sideways and does not shrink its texts.
    """
    return {"width": width, "height": height, "unconfined": True}


class _Canvas(FigureCanvasAgg):
    """Measures texts as it draws them."""

    renderer: TextRecorder | None = None

    def get_renderer(self) -> TextRecorder:
        """The one that has drawn, or will draw, at the present size."""
        size = (*self.get_width_height(physical=True), self.figure.dpi)
        here = self.renderer
        if here is None or (here.width, here.height, here.dpi) != size:
            self.renderer = here = TextRecorder(*size)
        return here


def _packed(picture: Image.Image, pictures: bool) -> Image.Image:
    if pictures:
        # The palette that is nearest to all pixels: on the average they are off by about 1 of 255.
        return picture.quantize(
            _PICTURES_PALETTE, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE
        )
    # So many bright colours as there are, not so many as are frequent: a single red dot must stay red.
    return picture.quantize(_PALETTE, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def rows_of_panels(
    count: int, columns: int | None, width: float, height: float, *, pictures: bool = False
) -> tuple[NotebookFigure, list[Axes]]:
    """A figure of `count` panels in rows of `columns` (all in one row when None), and their axes.

    Args:
        width, height: of one panel in inches. Panels that would not fit on the page are made narrower.
        pictures: see `NotebookFigure`.
    """
    columns = columns or count
    rows = -(-count // columns)
    size = (min(PAGE, columns * width), rows * height)
    figure = NotebookFigure(figsize=size, layout="constrained", pictures=pictures)
    axes = figure.subplots(rows, columns, squeeze=False)
    for i, axis in enumerate(axes.flat):
        axis.set_visible(i < count)
        axis.set_anchor("S")  # a square panel leaves the rest of its room to its title
    return figure, list(axes.flat[:count])


def legends(figure: Figure, axes: Sequence[Axes]) -> None:
    """What the curves of panels are: one legend beside them if they show the same, or else one below each."""
    named = [axis.get_legend_handles_labels() for axis in axes]
    if all(labels == named[0][1] for _, labels in named):
        figure.legend(*named[0], loc="outside right upper", borderaxespad=0.5)
    else:
        for axis, (handles, labels) in zip(axes, named, strict=True):
            axis.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def in_lines(text: str, inches: float) -> str:
    """`text` in lines that fit over `inches` in the smallest type; broken at spaces, or between hanzi."""
    width, lines, line = int(inches * LETTERS), [], ""
    for piece in _pieces(text):
        if line and _width(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece.lstrip() if not line else piece
    return "\n".join([*lines, line.rstrip()])


def _pieces(text: str) -> list[str]:
    """Words with the space after them; single full-width characters, with the punctuation after them."""
    pieces: list[str] = []
    for character in text:
        glued = character in "，。：；！？、）" or (character == " " and pieces)
        follows = pieces and _width(character) == 1 and _width(pieces[-1][-1]) == 1 and pieces[-1][-1] != " "
        if pieces and (glued or follows):
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
