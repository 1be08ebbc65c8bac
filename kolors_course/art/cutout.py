"""Every subject of a scene, cut out of its picture: the truth that a drawn subject can be held against."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from kolors_course.art.choices import BASE_STYLE
from kolors_course.art.scene import Layout, Placement, Scene, above_water, lay_out, place_box, sinks
from kolors_course.art.styles import LINES, PIXEL_ENLARGE, render
from kolors_course.art.subject import Subject, silhouette, sprite


@dataclass(frozen=True)
class Cutout:
    """A subject as one picture of the world shows it.

    Attributes:
        left, top: corner of its box in the picture, in pixels.
        colours: (h, w, 3) bytes, the picture inside the box.
        alpha: (h, w) in 0..1, how much of each pixel is the subject's own.
    """

    subject: Subject
    left: int
    top: int
    colours: np.ndarray
    alpha: np.ndarray


def cutouts(scene: Scene, px: int = 128, style: str = BASE_STYLE) -> tuple[Cutout, ...]:
    """The subjects of `scene` as `render(scene, px, style)` shows them, from left to right.

    Raises:
        CourseError: unknown style.
    """
    layout, picture = lay_out(scene), np.asarray(render(scene, px, style))
    found, seen = [], np.ones((px, px))
    for placement in reversed(layout.placements):  # what is drawn last hides what is below it
        left, top, shape = _outline(layout, placement, px, style)
        box = slice(top, top + shape.height), slice(left, left + shape.width)
        alpha = np.asarray(shape, dtype=np.float64) / 255
        found.append(Cutout(placement.subject, left, top, picture[box], alpha * seen[box]))
        seen[box] *= 1 - alpha
    return tuple(reversed(found))


def _outline(layout: Layout, placement: Placement, px: int, style: str) -> tuple[int, int, Image.Image]:
    """Left, top and the filled outline (L) of one subject."""
    subject, line = placement.subject, LINES.get(style)
    if line:
        left, top, width, height = place_box(sprite(subject, line.pack), placement, px, line.enlarge)
        return left, top, silhouette(subject, line.pack).resize((width, height), Image.Resampling.LANCZOS)
    shape = sprite(subject, "colour").getchannel("A")
    enlarge = PIXEL_ENLARGE if style == "pixel" else 1.0
    left, top, width, height = place_box(shape, placement, px, enlarge)
    shape = shape.resize((width, height), Image.Resampling.LANCZOS)
    return left, top, above_water(shape) if sinks(layout.scene, subject) else shape
