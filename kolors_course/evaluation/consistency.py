"""Is it she, and is it the same she? A character in the pictures of a story, held against her true drawing.

She is looked for where the world might have put her (`best_match`, with her own drawing and with the plain animal's),
and only what lies inside her outline there counts: a consistent background is no consistent heroine. Two measures:

* colour: the mean CIE L*a*b* colours of coat and accessory. Their distance ΔE*ab is 2 where an eye just sees it, and
  some tens from one colour name to another.
* look: the cosine of the probe's features of the cut-out on grey, after the mean features of all the world's subjects
  are taken off: 1 is the same, and two different subjects have 0 on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

from kolors_course.art import Cutout, Heroine, Scene, accessory_mask, character_cutout, cutouts, subjects
from kolors_course.art.subject import sprite
from kolors_course.evaluation.fidelity import OWN, SIDE, Match, best_match
from kolors_course.evaluation.probes import Probe, pixels_of

GREY = (128, 128, 128)
LOOKED_AT = 64  # px of a cut-out's longer side on its grey square of twice that: a subject of normal size


@dataclass(frozen=True)
class Sighting:
    """A character found in one picture.

    Attributes:
        match: where.
        herself: ρ of her own drawing less that of the plain animal: above 0 it is rather she than any of her kind.
        coat, accessory: mean L*a*b* colours, (3,).
        cutout: what is inside her outline, on grey.
    """

    match: Match
    herself: float
    coat: np.ndarray
    accessory: np.ndarray
    cutout: Image.Image


def sight(character: Heroine, scene: Scene, picture: Image.Image) -> Sighting:
    """Look for `character` in a square picture of `scene`.

    Raises:
        CourseError: the scene has not got her animal, or the picture is not square.
    """
    own = character_cutout(character, scene, SIDE)
    plain = next(c for c in cutouts(scene, SIDE) if c.subject.hex == character.animal.hex)
    hers, its = best_match(picture, own), best_match(picture, plain)
    match = max(hers, its, key=lambda m: m.value)
    box = [round(part * SIDE) for part in match.box]
    inside = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    inside = inside.crop((box[0], box[1], box[0] + box[2], box[1] + box[3]))
    outline, worn = _masks(character, own, inside.size)
    lab = _lab(inside)
    grey = Image.new("RGB", inside.size, GREY)
    grey.paste(inside, mask=Image.fromarray((255 * outline).astype(np.uint8)))
    coat = _mean(lab, outline * (1 - worn))
    return Sighting(match, hers.value - its.value, coat, _mean(lab, outline * worn), grey)


def colour_difference(one: np.ndarray, two: np.ndarray) -> float:
    """ΔE*ab (CIE 1976) of two L*a*b* colours."""
    return float(np.linalg.norm(one - two))


@torch.no_grad()
def look_features(probe: Probe, cut: Sequence[Image.Image]) -> Tensor:
    """Cut-outs on grey -> unit vectors (N, features) of the probe's subject features less the world's mean; the
    product of two is their cosine."""
    found = _subject_features(probe, cut) - _world_mean(probe)
    return found / found.norm(dim=1, keepdim=True)


@cache
def _world_mean(probe: Probe) -> Tensor:
    drawings = []
    for subject in subjects():
        drawing = sprite(subject, "colour")
        grey = Image.new("RGB", drawing.size, GREY)
        grey.paste(drawing, mask=drawing)
        drawings.append(grey)
    return _subject_features(probe, drawings).mean(0)


def _subject_features(probe: Probe, cut: Sequence[Image.Image]) -> Tensor:
    return probe.subject[:3](probe.trunk(pixels_of([_centred(each) for each in cut]))).mean((2, 3))


def _centred(cut: Image.Image) -> Image.Image:
    """A cut-out, scaled to `LOOKED_AT`, in the middle of a grey square."""
    factor = LOOKED_AT / max(cut.size)
    width, height = (max(1, round(factor * side)) for side in cut.size)
    square = Image.new("RGB", (2 * LOOKED_AT,) * 2, GREY)
    small = cut.resize((width, height), Image.Resampling.LANCZOS)
    square.paste(small, (LOOKED_AT - width // 2, LOOKED_AT - height // 2))
    return square


def _masks(character: Heroine, own: Cutout, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Outline and accessory (h, w) in 0..1, at the size at which she was found."""
    outline = Image.fromarray(own.alpha.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    whole = accessory_mask(character)
    # The waves hide the foot of her drawing, never its sides.
    seen = round(whole.width * own.alpha.shape[0] / own.alpha.shape[1])
    worn = whole.crop((0, 0, whole.width, min(seen, whole.height))).resize(size, Image.Resampling.BILINEAR)
    # At its edge a subject is mixed with what is behind it.
    return np.asarray(outline) > OWN, np.asarray(worn) / 255


def _lab(picture: Image.Image) -> np.ndarray:
    """(h, w, 3) L*a*b* of an sRGB picture."""
    stored = np.asarray(ImageCms.applyTransform(picture, _to_lab()))
    # Pillow stores L* as 0..255 and the others as signed bytes.
    return np.dstack([stored[..., 0] * (100 / 255), stored[..., 1:].view(np.int8)])


@cache
def _to_lab() -> ImageCms.ImageCmsTransform:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.buildTransform(*profiles, "RGB", "LAB")


def _mean(lab: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (lab * weights[..., None]).sum((0, 1)) / max(float(weights.sum()), 1e-6)
