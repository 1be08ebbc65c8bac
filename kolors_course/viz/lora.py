"""Figures of a change of weight: how much of it a low rank holds, and how it turns and stretches the rows."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.maths import kept_energy
from kolors_course.viz.canvas import (
    COLOURS,
    PAGE,
    PALE,
    SOFT_INK,
    NotebookFigure,
    in_lines,
    in_style,
    legends,
    rows_of_panels,
)


@in_style
def spectrum_figure(deltas: Mapping[str, Tensor], mark: int | None = None) -> NotebookFigure:
    """Singular values of changes of weight, and the share of the change that rank 1, 2, … keeps.

    Args:
        deltas: (out, in) matrices by name.
        mark: a rank to mark.

    Raises:
        CourseError: there is no matrix.
    """
    if not deltas:
        raise CourseError("there is no change of weight to draw")
    figure, (values, energy) = rows_of_panels(2, 2, PAGE / 2, 3.0)
    for i, (name, delta) in enumerate(deltas.items()):
        colour = COLOURS[i % len(COLOURS)]
        spectrum = torch.linalg.svdvals(delta.double())
        spectrum = spectrum / spectrum.square().sum().sqrt()
        ranks = np.arange(1, len(spectrum) + 1)
        # Below float32's resolution a singular value is rounding, and a logarithmic axis would show little else.
        values.semilogy(ranks, spectrum.clamp(min=1e-5), color=colour, linewidth=1.8, label=name)
        energy.plot(ranks, kept_energy(delta), color=colour, linewidth=1.8, label=name)
    for axis in (values, energy):
        if mark is not None:
            axis.axvline(mark, color=SOFT_INK, linestyle="--", linewidth=1.2, label=f"rank {mark}")
        axis.set_xlabel("rank")
        axis.grid(color=PALE, alpha=0.4, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    values.set_title("Singular values\n(of a change of length 1)")
    energy.set_title("Share of the change\nthat a rank keeps")
    energy.set_ylim(0, 1.03)
    legends(figure, [values, energy])
    return figure


@in_style
def direction_figure(changes: Mapping[str, Mapping[str, tuple[float, float]]]) -> NotebookFigure:
    """How different training runs change the same layers: each dot a layer, how far it is turned and stretched.

    Args:
        changes: by training, `turn_and_stretch` of each layer by its name.

    Raises:
        CourseError: there is nothing to draw.
    """
    if not changes:
        raise CourseError("there is no training to draw")
    figure, axes = rows_of_panels(len(changes), None, PAGE / max(2, len(changes)), 2.9)
    for i, (axis, (name, layers)) in enumerate(zip(axes, changes.items(), strict=True)):
        turned, stretched = np.array(list(layers.values())).T
        axis.loglog(
            turned, stretched, "o", color=COLOURS[i % len(COLOURS)], markersize=4, alpha=0.6, linewidth=0
        )
        r = np.corrcoef(np.log(turned), np.log(stretched))[0, 1]
        for ticks in (axis.xaxis, axis.yaxis):  # matplotlib's own run into one another on less than a decade
            ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ticks.set_minor_formatter(NullFormatter())
        axis.set_title(in_lines(f"{name}: correlation {r:.2f}", PAGE / max(2, len(changes)) - 0.6))
        axis.set_xlabel("rows turned by (1 - cosine)")
        axis.grid(color=PALE, alpha=0.4, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("lengths changed by (relative)")
    return figure
