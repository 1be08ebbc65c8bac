"""Edges of any picture, white on black, as the published Canny ControlNet of Kolors was shown them."""

import cv2
import numpy as np
from PIL import Image, ImageOps

LOW, HIGH = 100, 200  # Kwai's sample script


def canny(picture: Image.Image, low: float = LOW, high: float = HIGH) -> Image.Image:
    """Edges of one pixel (J. Canny, "A Computational Approach to Edge Detection", IEEE PAMI 8, 1986), by OpenCV.

    Args:
        low, high: how steep an edge must be, in grey levels times 4: from `high` on it is one, from `low` on if it
            goes on from one.
    """
    edges = cv2.Canny(np.asarray(picture.convert("RGB")), low, high)
    return Image.fromarray(edges).convert("RGB")


def drawing(picture: Image.Image) -> Image.Image:
    """A line drawing as hints are: white on black. One that is dark on light paper is turned over."""
    grey = picture.convert("L")
    if np.asarray(grey).mean() > 127:
        grey = ImageOps.invert(grey)
    return grey.convert("RGB")
