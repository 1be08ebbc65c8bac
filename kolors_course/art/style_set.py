"""Data sets in one drawing style, made of rendered scenes."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from kolors_course.art.captions import random_caption
from kolors_course.art.splits import draw_scene, style_train_subjects
from kolors_course.art.styles import render


def style_pictures(
    style: str, count: int = 48, size: int = 128, seed: int = 0
) -> Iterator[tuple[Image.Image, str]]:
    """`count` pictures in `style` with true captions, half of them Chinese.

    Only subjects and compositions from the training side of both splits are used, so that what a LoRA learns
    here can be tested on subjects it has never seen. The captions name what is drawn, not the style: the style is
    what is common to all pictures, and the LoRA is to learn it without a trigger word.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        scene = draw_scene(rng, pool=style_train_subjects())
        yield render(scene, size, style), random_caption(scene, rng)
