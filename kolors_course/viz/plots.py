"""Figures of the notebooks: strips of pictures, loss curves, noise schedules. Each returns a matplotlib Figure.

Chinese in titles needs `kolors_course.platform.fonts.use_cjk_font()` once in the notebook.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from PIL import Image

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.viz.canvas import (
    PAGE,
    PICTURE,
    SMALLEST,
    NotebookFigure,
    in_lines,
    in_style,
    legends,
    rows_of_panels,
)

SIDE = 1.3  # of 128 px: one picture in a strip
THUMBNAIL = 256  # px; larger pictures are shrunk first, so that a notebook stays small
_LINE = 0.17  # inches, one line of a title


@in_style
def picture_strip(
    pictures: Sequence[Image.Image],
    titles: Sequence[str] = (),
    *,
    columns: int | None = None,
    row_labels: Sequence[str] = (),
    side: float = SIDE,
) -> NotebookFigure:
    """Pictures in rows, each with a title above it, or one title for each column above the first row.

    Args:
        columns: pictures in a row; all in one row when None.
        titles: as many as pictures, or as columns, or none. Long ones are broken into lines.
        row_labels: one for each row, written on its left.
        side: of one picture, where 1 is the size in which Kolors-mini draws, 128 px; less where a row would not fit
            on the page.

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
    side = min(side * PICTURE, PAGE / columns)
    row_labels = [in_lines(label, side) for label in row_labels]
    beside = _LINE * max((label.count("\n") + 2 for label in row_labels), default=0)
    side = min(side, (PAGE - beside) / columns)
    titles = [in_lines(title, side) for title in titles]
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    height = side + _LINE * lines * (1 if len(titles) > columns else 1 / rows)
    figure, axes = rows_of_panels(columns * rows, columns, side, height, pictures=True)
    figure.set_figwidth(columns * side + beside)
    for i, axis in enumerate(axes):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if i < len(pictures):
            axis.imshow(_small(pictures[i]), interpolation="bicubic")
        if i < len(titles):
            axis.set_title(titles[i], fontsize=SMALLEST)
    for row, label in enumerate(row_labels):
        axes[row * columns].set_ylabel(label)
    return figure


@in_style
def loss_curve(
    losses: Sequence[tuple[int, float]], window: int = 20, title: str = "Training loss"
) -> NotebookFigure:
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
    figure, (axis,) = rows_of_panels(1, 1, PAGE, 2.8)
    axis.plot(steps, values, color="#b9c2d0", linewidth=1, label="each step")
    axis.plot(steps[window - 1 :], mean, color="#c81420", linewidth=2, label=f"mean of {window} steps")
    axis.set(title=title, xlabel="step", ylabel="loss", ylim=(0, None))
    legends(figure, [axis])
    return figure


@in_style
def schedule_plot(
    schedules: Mapping[str, NoiseSchedule], marks: Mapping[str, float] | None = None
) -> NotebookFigure:
    """How much signal is left (√ᾱ_t) and how much noise there is beside it (σ_t), by timestep.

    Args:
        schedules: curves by name.
        marks: timesteps to mark by name, such as where sampling starts.
    """
    figure, axes = rows_of_panels(2, 2, PAGE / 2, 2.8)
    widths = np.linspace(5, 1.5, len(schedules))  # curves that coincide stay visible below one another
    for (name, schedule), width in zip(schedules.items(), widths, strict=True):
        axes[0].plot(schedule.alphas_cumprod.sqrt(), linewidth=width, label=name)
        axes[1].semilogy(schedule.sigmas, linewidth=width, label=name)
    for (name, timestep), dashes in zip((marks or {}).items(), cycle(("--", ":", "-."))):
        for axis in axes:
            axis.axvline(timestep, color="#667085", linestyle=dashes, linewidth=1, label=name)
    axes[0].set(title="signal left in the sample", xlabel="timestep t", ylabel=r"$\sqrt{\bar\alpha_t}$")
    axes[1].set(title="noise relative to signal", xlabel="timestep t", ylabel=r"$\sigma_t$ (log scale)")
    legends(figure, axes)
    return figure


def _small(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGB")
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return picture
