"""Aspect-ratio buckets: picture shapes of about equal area, so that little of any picture is cut off.

All pictures of a batch have one size. With a single square size, a wide picture loses its sides; with a few
sizes of about the same area, each picture goes to the one that suits its shape (SDXL, arXiv 2307.01952,
section 2.3; NovelAI's "Improvements on Stable Diffusion", 2022). What is cut off even so is told to the model by
`pixels.prepare_image`, which takes a bucket's width and height as it takes any other.
"""

import math
from collections.abc import Iterable, Sequence

from kolors_course.errors import CourseError

Size = tuple[int, int]  # (width, height) in pixels
MAX_ASPECT = 2.0


def step_for(area: int) -> int:
    """SDXL's step, 64 px at 1024x1024 px, in proportion to the side, but at least 32 px.

    VAE and U-Net halve a picture's sides five times, in Kolors and in Kolors-mini.
    """
    side = math.isqrt(area)
    return min(side, max(32, 64 * side // 1024 // 32 * 32))


def candidate_buckets(area: int, step: int, max_aspect: float = MAX_ASPECT) -> tuple[Size, ...]:
    """The shapes on the grid that are as large as possible, but no larger than `area`, and of moderate aspect.

    So memory suffices for all if it does for the square, and no shape fits into another one.

    Args:
        area: of a training picture in square pixels.
        step: sides are multiples of it, in pixels.
        max_aspect: the longer side over the shorter one is at most this.

    Returns:
        Sizes, the tallest first.

    Raises:
        CourseError: nothing fits, because the area is smaller than one step squared.
    """
    if step < 1 or area < step * step:
        raise CourseError(f"no bucket with sides in steps of {step} px fits into {area} square pixels")
    found = set()
    for short in range(step, math.isqrt(area) + 1, step):
        long = int(min(area / short, max_aspect * short)) // step * step
        found |= {(short, long), (long, short)}
    largest = [size for size in found if not any(size != other and _fits(size, other) for other in found)]
    return tuple(sorted(largest, key=lambda size: size[0] / size[1]))


def _fits(size: Size, other: Size) -> bool:
    return size[0] <= other[0] and size[1] <= other[1]


def cropped_share(size: Size, bucket: Size) -> float:
    """The part of a picture, from 0 to 1, that is cut off when it is scaled to cover `bucket`."""
    aspects = size[0] / size[1], bucket[0] / bucket[1]
    return 1 - min(aspects) / max(aspects)


def assign_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """The bucket that cuts off least of a picture of (width, height) `size`; of equals the largest."""
    return min(buckets, key=lambda bucket: (cropped_share(size, bucket), -bucket[0] * bucket[1]))


def propose_buckets(
    sizes: Iterable[Size], area: int, step: int, max_aspect: float = MAX_ASPECT
) -> list[Size]:
    """The buckets that pictures of these sizes need, the tallest first.

    Args:
        sizes: (width, height) of each picture.
        area, step, max_aspect: as for `candidate_buckets`.
    """
    candidates = candidate_buckets(area, step, max_aspect)
    used = {assign_bucket(size, candidates) for size in sizes}
    return [bucket for bucket in candidates if bucket in used]
