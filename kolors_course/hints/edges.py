"""Edges of any picture, white on black, as the published Canny ControlNet of Kolors was shown them."""

import cv2
import numpy as np
from PIL import Image

LOW, HIGH = 100, 200  # Kwai's sample script


def canny(picture: Image.Image, low: float = LOW, high: float = HIGH) -> Image.Image:
    """Edges of one pixel (J. Canny, "A Computational Approach to Edge Detection", IEEE PAMI 8, 1986), by OpenCV.

    Args:
        low, high: how steep an edge must be, in grey levels times 4: from `high` on it is one, from `low` on if it
            goes on from one.
    """
    edges = cv2.Canny(np.asarray(picture.convert("RGB")), low, high)
    return Image.fromarray(edges).convert("RGB")
