"""Edges and lines, white on black, as the published Canny ControlNet of Kolors was shown them."""

import numpy as np
from PIL import Image, ImageOps
from skimage import feature

LOW, HIGH = (
    100,
    200,
)  # Kwai's sample script: of the gradient in grey levels, which OpenCV and scikit-image sum alike


def canny(picture: Image.Image, low: float = LOW, high: float = HIGH) -> Image.Image:
    """Edges of one pixel (J. Canny, "A Computational Approach to Edge Detection", IEEE PAMI 8, 1986).

    Of each colour by itself, and together: two colours as light as each other have an edge between them, too.

    Args:
        low, high: how steep an edge must be, by Sobel's operator on grey levels: from `high` on it is one, from `low`
            on if it goes on from one.
    """
    colours = np.moveaxis(np.asarray(picture.convert("RGB"), dtype=float), -1, 0)
    edges = [feature.canny(colour, sigma=0, low_threshold=low, high_threshold=high) for colour in colours]
    return Image.fromarray(np.any(edges, axis=0).astype(np.uint8) * 255).convert("RGB")


def drawing(picture: Image.Image) -> Image.Image:
    """A line drawing as hints are: white on black. One that is dark on light paper is turned over."""
    grey = picture.convert("L")
    if np.asarray(grey).mean() > 127:
        grey = ImageOps.invert(grey)
    return grey.convert("RGB")
