"""What the figures of the theory notebooks share: colours, and rows of equal panels."""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

INK, SOFT_INK, PALE, RED, BLUE = "#1f2430", "#667085", "#b9c2d0", "#c81420", "#1f5fa8"
# Neighbours in this list stay apart for colour-blind readers too: they differ in brightness.
COLOURS = (RED, BLUE, "#e08a00", "#3b8f3e", "#7a4fb0", "#16a0a0", "#b0478f", "#8a6a3a")
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#dbe7f5", "#8fb8e0", "#2f6fb5", "#123a6b"])
_DPI = 76  # a cloud of a thousand dots compresses badly, and a notebook should stay small
PICTURE_DPI = 128
_LEVELS = 43  # of each colour in a saved PNG: at most 3 of 255 from the truth, and half the bytes


def rows_of_panels(count: int, columns: int | None, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of `columns` (all in one row when None), and their axes.

    The figure is closed already: else a notebook would show it twice, here and where the caller returns it.
    """
    columns = columns or count
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * width, rows * height), squeeze=False, layout="constrained", dpi=_DPI
    )
    plt.close(figure)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


class PictureCanvas(FigureCanvasAgg):
    """Saves a PNG with 43 levels of each colour, so that pictures can be large and a notebook small."""

    def print_png(self, filename_or_obj: Any, **options: Any) -> None:
        self.draw()
        pixels = np.asarray(self.buffer_rgba())[..., :3] / 255
        rounded = np.round(np.round(pixels * (_LEVELS - 1)) / (_LEVELS - 1) * 255).astype(np.uint8)
        Image.fromarray(rounded).save(filename_or_obj, format="png", optimize=True)


def for_pictures(figure: Figure) -> Figure:
    """`figure`, made to show pictures: sharper than curves need it, see `PictureCanvas`."""
    figure.set_dpi(PICTURE_DPI)
    PictureCanvas(figure)
    return figure
