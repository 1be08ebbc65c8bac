"""Hints that the drawn world gives for free, because it knows what is where: lines, boxes and depth.

All are RGB. Lines are white on black, boxes red on black, depth grey: near is bright. So one ControlNet can be taught
all of them, and sees from the picture which it is.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from kolors_course.art import BASE_STYLE, Cutout, Scene, cutouts, lay_out, render
from kolors_course.errors import CourseError
from kolors_course.hints.boxes import draw_boxes
from kolors_course.hints.edges import canny

INSIDE = 0.5  # a pixel is a subject's if it covers so much of it
SKYLESS_GROUND = {"space": 1.0}  # where the ground begins, in parts of the side, if not at the horizon
FAR, NEAR = 40, 170  # grey of the ground at the horizon and at the lower edge; a subject is a little nearer
LIFT = 60


def scene_lines(
    scene: Scene, px: int = 128, style: str = BASE_STYLE, rng: np.random.Generator | None = None
) -> Image.Image:
    """A line drawing of a scene as `render(scene, px, style)` shows it.

    Without `rng`, the edges of the whole picture. With it, one of what people bring: these edges, the edges of the
    subjects alone, or their outlines as a pen of one to four pixels draws them.
    """
    edges = canny(render(scene, px, style))
    kind = "whole" if rng is None else rng.choice(("whole", "subjects", "pen"), p=(0.4, 0.3, 0.3))
    if kind == "whole":
        return edges
    shape = _shape(cutouts(scene, px, style), px)
    if rng is None or kind == "subjects":
        near = shape.filter(ImageFilter.MaxFilter(5))
        return Image.composite(edges, Image.new("RGB", edges.size), near)
    return _pen(edges, shape, int(rng.integers(1, 5)), inside=rng.random() < 0.6)


def _pen(edges: Image.Image, shape: Image.Image, width: int, inside: bool) -> Image.Image:
    """The outline of a shape in strokes, and the edges within it if `inside`."""
    filled = ndimage.binary_fill_holes(np.asarray(shape) > 0)
    drawn = filled & ~ndimage.binary_erosion(filled, border_value=1)
    if inside:
        drawn |= (np.asarray(edges)[..., 0] > 0) & ndimage.binary_erosion(filled, iterations=2)
    stroke = ndimage.binary_dilation(drawn, np.ones((width, width)))
    return Image.fromarray(stroke.astype(np.uint8) * 255).convert("RGB")


def scene_boxes(scene: Scene, px: int = 128, style: str = BASE_STYLE) -> Image.Image:
    """The boxes that the subjects fill, red on black. Which subject is which, the prompt says."""
    boxes = []
    for cut in cutouts(scene, px, style):
        height, width = cut.alpha.shape
        boxes.append((cut.left / px, cut.top / px, (cut.left + width) / px, (cut.top + height) / px))
    return draw_boxes(boxes, px)


def scene_depth(scene: Scene, px: int = 128, style: str = BASE_STYLE) -> Image.Image:
    """How near everything is: the sky is far, the ground comes nearer to the lower edge, a subject stands on it."""
    layout = lay_out(scene)
    horizon = SKYLESS_GROUND.get(scene.place, layout.backdrop.horizon / 128)
    rows = (np.arange(px) + 0.5) / px
    ground = FAR + (NEAR - FAR) * (rows - horizon) / max(1 - horizon, 1 / px)
    depth = np.repeat(np.where(rows < horizon, 0, ground)[:, None], px, axis=1)
    for cut in cutouts(scene, px, style):
        height, width = cut.alpha.shape
        foot = min(cut.top + height, px) - 1
        box = slice(cut.top, cut.top + height), slice(cut.left, cut.left + width)
        near = min(255.0, max(depth[foot, cut.left], FAR) + LIFT)
        depth[box] = np.where(cut.alpha > INSIDE, near, depth[box])
    return Image.fromarray(depth.round().astype(np.uint8)).convert("RGB")


HINTS: dict[str, Callable[..., Image.Image]] = {
    "lines": scene_lines,
    "boxes": scene_boxes,
    "depth": scene_depth,
}


def scene_hint(kind: str, scene: Scene, px: int = 128, style: str = BASE_STYLE) -> Image.Image:
    """The hint of one of `HINTS`.

    Raises:
        CourseError: there is no such kind.
    """
    if kind not in HINTS:
        raise CourseError(f"there is no hint {kind!r} of a scene; choose one of {', '.join(HINTS)}")
    return HINTS[kind](scene, px, style)


def _shape(cuts: tuple[Cutout, ...], px: int) -> Image.Image:
    """The pixels of all subjects, white on black."""
    shape = np.zeros((px, px), np.uint8)
    for cut in cuts:
        height, width = cut.alpha.shape
        shape[cut.top : cut.top + height, cut.left : cut.left + width][cut.alpha > INSIDE] = 255
    return Image.fromarray(shape)
