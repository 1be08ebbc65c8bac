"""Figures of the notebooks: strips of pictures, loss curves, noise schedules. Each returns a matplotlib Figure.

Chinese in titles needs `kolors_course.platform.fonts.use_cjk_font()` once in the notebook.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.viz.canvas import for_pictures

SIDE = 1.3  # inches, one picture in a strip
THUMBNAIL = 256  # px; larger pictures are shrunk first, so that a notebook stays small
CHARACTERS = 12  # that fit over one inch, half-width ones


def picture_strip(
    pictures: Sequence[Image.Image],
    titles: Sequence[str] = (),
    *,
    columns: int | None = None,
    row_labels: Sequence[str] = (),
    side: float = SIDE,
) -> Figure:
    """Pictures in rows, each with a title above it, or one title for each column above the first row.

    Args:
        columns: pictures in a row; all in one row when None.
        titles: as many as pictures, or as columns, or none. Long ones are broken into lines.
        row_labels: one for each row, written on its left.
        side: inches of one picture.

    Raises:
        CourseError: no pictures, or a number of titles or labels that fits neither rows nor columns.
    """
    if not pictures:
        raise CourseError("a strip needs at least one picture")
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    if len(titles) not in (0, columns, len(pictures)) or len(row_labels) not in (0, rows):
        raise CourseError(
            f"{len(pictures)} pictures in {columns} columns take {columns} or {len(pictures)} titles and {rows} row "
            f"labels, not {len(titles)} and {len(row_labels)}"
        )
    titles = [_broken(title, int(side * CHARACTERS)) for title in titles]
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    height = rows * side + 0.15 * lines * (rows if len(titles) > columns else 1)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * side, height), squeeze=False, layout="constrained"
    )
    for i, axis in enumerate(axes.flat):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if i < len(pictures):
            axis.imshow(_small(pictures[i]), interpolation="bicubic")
        if i < len(titles):
            axis.set_title(titles[i], fontsize=8)
    for axis, label in zip(axes[: len(row_labels), 0], row_labels, strict=True):
        axis.set_ylabel(label, fontsize=9)
    plt.close(figure)  # else a notebook would show it twice: here, and where the caller returns it
    return for_pictures(figure)


def loss_curve(losses: Sequence[tuple[int, float]], window: int = 20, title: str = "Training loss") -> Figure:
    """Loss by step, with its running mean over `window` steps: one step's loss says little by itself.

    Args:
        losses: (step, loss) pairs, as in `LoraResult.losses`.

    Raises:
        CourseError: there is no loss.
    """
    if not losses:
        raise CourseError("there is no loss to draw")
    steps, values = (np.array(column) for column in zip(*losses, strict=True))
    window = min(window, len(values))
    mean = np.convolve(values, np.ones(window) / window, mode="valid")
    figure, axis = plt.subplots(figsize=(6, 2.8), layout="constrained")
    axis.plot(steps, values, color="#b9c2d0", linewidth=1, label="each step")
    axis.plot(steps[window - 1 :], mean, color="#c81420", linewidth=2, label=f"mean of {window} steps")
    axis.set(title=title, xlabel="step", ylabel="loss", ylim=(0, None))
    axis.legend(frameon=False)
    plt.close(figure)
    return figure


def schedule_plot(schedules: Mapping[str, NoiseSchedule], marks: Mapping[str, float] | None = None) -> Figure:
    """How much signal is left (√ᾱ_t) and how much noise there is beside it (σ_t), by timestep.

    Args:
        schedules: curves by name.
        marks: timesteps to mark by name, such as where sampling starts.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
    widths = np.linspace(5, 1.5, len(schedules))  # curves that coincide stay visible below one another
    for (name, schedule), width in zip(schedules.items(), widths, strict=True):
        axes[0].plot(schedule.alphas_cumprod.sqrt(), linewidth=width, label=name)
        axes[1].semilogy(schedule.sigmas, linewidth=width, label=name)
    for (name, timestep), dashes in zip((marks or {}).items(), cycle(("--", ":", "-."))):
        for axis in axes:
            axis.axvline(timestep, color="#667085", linestyle=dashes, linewidth=1, label=name)
    axes[0].set(title="signal left in the sample", xlabel="timestep t", ylabel=r"$\sqrt{\bar\alpha_t}$")
    axes[1].set(title="noise relative to signal", xlabel="timestep t", ylabel=r"$\sigma_t$ (log scale)")
    axes[1].legend(frameon=False, fontsize=8)
    plt.close(figure)
    return figure


def _small(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGB")
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return picture


def _broken(text: str, width: int) -> str:
    """`text` in lines of at most `width` half-width characters: at spaces, or between Chinese characters."""
    lines, line = [], ""
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
