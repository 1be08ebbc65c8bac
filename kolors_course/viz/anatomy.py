"""Figures of the parts of Kolors: how they hang together, what latents look like, where words are attended to."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.kolors.budget import Cost
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import MAX_SEQUENCE_LENGTH
from kolors_course.viz.canvas import (
    BLUE,
    HEADING,
    INK,
    PAGE,
    PALE,
    PICTURE,
    RED,
    SMALLEST,
    SOFT_INK,
    NotebookFigure,
    in_style,
    legends,
    rows_of_panels,
)

_BOX: dict[str, Any] = {"boxstyle": "round,pad=0.02,rounding_size=0.12", "linewidth": 1.4}
_TINT = {RED: "#fbe9ea", BLUE: "#e8f0f9", SOFT_INK: "#f2f4f7"}


@in_style
def parts_figure(model: KolorsModel) -> NotebookFigure:
    """The way from prompt and noise to picture, with the shapes of this model for one picture."""
    config, side, px = model.unet.config, model.unet.config.sample_size, model.default_size
    width, pooled = config.encoder_hid_dim, model.text_encoder.config.hidden_size
    latents = f"{config.in_channels} x {side} x {side}"
    figure, (axis,) = rows_of_panels(1, 1, PAGE, 3.4)
    axis.set(xlim=(0, 11.3), ylim=(0, 3.4))
    axis.axis("off")
    boxes = {
        "tokenizer": (0.1, 2.3, 1.5, "tokenizer", "SentencePiece", SOFT_INK),
        "reader": (2.6, 2.3, 1.9, "text encoder", "ChatGLM", BLUE),
        "noise": (0.1, 0.55, 1.5, "noise", latents, SOFT_INK),
        "unet": (4.5, 0.4, 2.0, "U-Net", "removes noise,\nstep by step", RED),
        "vae": (7.6, 0.4, 1.9, "VAE decoder", "latents to pixels", BLUE),
    }
    for x, y, wide, title, text, colour in boxes.values():
        axis.add_patch(FancyBboxPatch((x, y), wide, 0.9, facecolor=_TINT[colour], edgecolor=colour, **_BOX))
        axis.text(x + wide / 2, y + 0.66, title, ha="center", va="center", fontsize=HEADING, color=INK)
        axis.text(x + wide / 2, y + 0.25, text, ha="center", va="center", color=SOFT_INK)
    _arrow(axis, (1.65, 2.75), (2.55, 2.75), f"{MAX_SEQUENCE_LENGTH} ids", (2.1, 2.95))
    _arrow(axis, (4.0, 2.25), (4.95, 1.38), f"words: {MAX_SEQUENCE_LENGTH} x {width}", (3.65, 1.8))
    _arrow(axis, (4.55, 2.75), (5.8, 1.38), f"summary: {pooled}", (5.85, 2.2))
    _arrow(axis, (7.3, 2.45), (6.3, 1.38), "timestep, sizes, crop", (7.6, 2.65))
    _arrow(axis, (1.65, 1.0), (4.42, 1.0), "first sample", (2.9, 1.18))
    _arrow(axis, (6.57, 0.85), (7.52, 0.85), latents, (7.3, 1.5))
    _arrow(axis, (9.56, 0.85), (9.95, 0.85), f"picture\n3 x {px} x {px}", (10.7, 0.85))
    axis.annotate(
        "",
        (4.8, 0.34),
        (6.2, 0.34),
        arrowprops={"arrowstyle": "-|>", "color": RED, "connectionstyle": "arc3,rad=-0.3"},
    )
    axis.set_title(f"{model.name}: how a picture is made", color=INK)
    return figure


def _arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], text: str, at: tuple[float, float]
) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.2})
    axis.text(*at, text, ha="center", va="center", color=INK)


@in_style
def latents_figure(picture: Image.Image, latents: Tensor, decoded: Image.Image) -> NotebookFigure:
    """A picture, the channels of its latents, what the VAE makes of them, and the error.

    Args:
        picture, decoded: of one size.
        latents: (C, h, w), scaled.
    """
    before, after = (np.asarray(p.convert("RGB"), dtype=float) for p in (picture, decoded))
    error = np.abs(before - after).mean(axis=2)
    panels = [("picture", picture), *((f"channel {i}", z.numpy()) for i, z in enumerate(latents))]
    panels += [("decoded", decoded), (f"error, up to {error.max():.0f} of 255", error)]
    figure, axes = rows_of_panels(len(panels), -(-len(panels) // 2), 1.9, 1.9, pictures=True)
    for axis, (title, content) in zip(axes, panels, strict=True):
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=SMALLEST)
        if title.startswith("channel"):
            axis.imshow(content, cmap="RdBu_r", vmin=-3, vmax=3)
        elif title.startswith("error"):
            axis.imshow(content, cmap="magma", vmin=0)
        else:
            axis.imshow(content)
    return figure


@in_style
def attention_figure(
    picture: Image.Image, maps: Tensor, words: Sequence[str], columns: int = 8, room: int = 0
) -> NotebookFigure:
    """For each word, where in the picture it was attended to: all on one scale, over the picture in grey.

    Args:
        maps: (len(words), h, w), shares of attention in 0 … 1.
        room: the figure is as large as one of so many words at least, so that it keeps its size in a widget.

    Raises:
        CourseError: there are not as many maps as words, or none.
    """
    if not words:
        raise CourseError("a prompt without words has no attention maps; name what is to be seen")
    if len(maps) != len(words):
        raise CourseError(f"{len(maps)} attention maps for {len(words)} words; give one for each")
    count = max(len(words), room) + 1
    figure, axes = rows_of_panels(count, columns, PICTURE, PICTURE + 0.2, pictures=True)
    axes[0].imshow(picture)
    axes[0].set_title("picture", fontsize=SMALLEST)
    width, height = picture.size
    percent = 100 * maps
    for axis, heat, word in zip(axes[1 : len(words) + 1], percent, words, strict=True):
        axis.imshow(picture.convert("L"), cmap="gray", vmin=0, vmax=255)
        drawn = axis.imshow(
            heat.numpy(),
            cmap="magma",
            vmin=0,
            vmax=float(percent.max()),
            alpha=0.75,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            interpolation="bicubic",
        )
        axis.set_title(word, fontsize=SMALLEST)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    for axis in axes[len(words) + 1 :]:
        axis.set_visible(False)
    figure.colorbar(drawn, ax=axes, fraction=0.02, label="% of a place's attention")
    return figure


@in_style
def similarity_figure(similarity: Tensor, labels: Sequence[str], title: str) -> NotebookFigure:
    """A square table of numbers in -1 … 1 as colours, (len(labels), len(labels)).

    Raises:
        CourseError: the table is not square, or has another number of labels.
    """
    if similarity.shape != (len(labels), len(labels)):
        raise CourseError(
            f"a table of shape {tuple(similarity.shape)} has {len(labels)} labels; give one a row"
        )
    figure, (axis,) = rows_of_panels(1, 1, PAGE, 4.8)
    drawn = axis.imshow(similarity.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    axis.set_xticks(range(len(labels)), [str(i + 1) for i in range(len(labels))])
    axis.set_yticks(range(len(labels)), [f"{label}  {i + 1}" for i, label in enumerate(labels)])
    for row, values in enumerate(similarity.tolist()):
        for column, value in enumerate(values):
            shade = "white" if abs(value) > 0.6 else INK
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade)
    axis.set_title(title)
    axis.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=axis, fraction=0.04)
    return figure


@in_style
def budget_figure(models: Mapping[str, Sequence[Cost]]) -> NotebookFigure:
    """Where weights and operations sit: share of each part, for models of the same structure side by side.

    Raises:
        CourseError: the models have other parts.
    """
    names = [[cost.name for cost in costs] for costs in models.values()]
    if not names or any(other != names[0] for other in names):
        raise CourseError("a budget compares models of the same parts, and at least one")
    figure, axes = rows_of_panels(2, 2, PAGE / 2, 0.5 + 0.32 * len(names[0]))
    height = 0.8 / len(models)
    for axis, (title, key) in zip(
        axes, (("weights", "parameters"), ("operations of one call", "flops")), strict=True
    ):
        for i, ((model, costs), colour) in enumerate(zip(models.items(), cycle((RED, BLUE, SOFT_INK)))):
            values = np.array([getattr(cost, key) for cost in costs], dtype=float)
            where = np.arange(len(costs)) + (i - (len(models) - 1) / 2) * height
            axis.barh(where, 100 * values / values.sum(), height, color=colour, label=model)
        axis.set_yticks(range(len(names[0])), names[0])
        axis.invert_yaxis()
        axis.set_title(f"Share of the\n{title}")
        axis.set_xlabel("%")
        axis.grid(axis="x", color=PALE, alpha=0.4, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    legends(figure, axes)
    return figure
