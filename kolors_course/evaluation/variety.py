"""Variety: how different are pictures of one prompt from seed to seed, beside those of the world itself?

A model that always draws the same cat in the same street follows its prompts and has no variety; guidance buys one
with the other. The distance of two pictures is the root mean square of their difference, in 0..1, after both were
averaged to `SIDE` pixels a side: what differs in fine noise or in the sharpness of an edge hardly counts.

The world draws the same scene with other seeds, which moves the subject a little and makes a new backdrop. Its own
mean distance is 1; a model that knows no seeds has 0.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean

import numpy as np
from PIL import Image

from kolors_course.art import BASE_STYLE, Scene, render
from kolors_course.errors import CourseError

SIDE = 32  # pixels


def spread(pictures: Sequence[Image.Image]) -> float:
    """The mean distance of all pairs.

    Raises:
        CourseError: there are fewer than two pictures.
    """
    if len(pictures) < 2:
        raise CourseError(f"variety is measured between pictures: give at least 2, not {len(pictures)}")
    small = [np.asarray(p.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)) / 255 for p in pictures]
    return fmean(float(np.sqrt(np.mean((one - two) ** 2))) for one, two in combinations(small, 2))


def variety(
    scenes: Sequence[Scene], pictures: Sequence[Sequence[Image.Image]], style: str = BASE_STYLE
) -> float:
    """The mean spread of a model's pictures of `scenes` over the world's.

    Args:
        pictures: of each scene, from as many seeds as the world is then asked for.

    Raises:
        CourseError: unknown style, or a scene with fewer than two pictures.
    """
    own = [
        spread([render(replace(scene, seed=scene.seed + i), SIDE * 4, style) for i in range(len(of_scene))])
        for scene, of_scene in zip(scenes, pictures, strict=True)
    ]
    return fmean(map(spread, pictures)) / fmean(own)
