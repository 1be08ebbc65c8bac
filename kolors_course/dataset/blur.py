"""How blurred is a picture? Compared with itself, so that a flat drawing does not count as a blurred one."""

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter1d

BLUR_LENGTH = 9  # pixels
GREY_SIDE = 256  # larger pictures are made smaller first: blur that nobody can see is none


def blur_of(image: Image.Image) -> float:
    """From 0, sharp, to 1: how little of the steps between neighbouring pixels blurring once more takes away.

    A sharp picture loses nearly all of its steps, a blurred one has hardly any to lose. Crété-Roffet and others, "The
    Blur Effect", SPIE 6492 (2007), section 3; the larger one of both directions. A picture of one colour has no
    step and counts as sharp.
    """
    grey = image.convert("L")
    grey.thumbnail((GREY_SIDE, GREY_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=float)
    return max(_along(pixels, axis) for axis in (0, 1))


def _along(pixels: np.ndarray, axis: int) -> float:
    """The blur of the steps along one direction."""
    blurred = uniform_filter1d(pixels, BLUR_LENGTH, axis=axis, mode="nearest")
    steps, after = (np.abs(np.diff(each, axis=axis)) for each in (pixels, blurred))
    lost = np.maximum(steps - after, 0).sum()
    return float(1 - lost / steps.sum()) if steps.sum() else 0.0
