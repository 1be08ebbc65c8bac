"""Which pictures to keep: by size and shape, as the camp's two data-juicer filters do, and by how sharp they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kolors_course.dataset.blur import blur_of
from kolors_course.dataset.pixels import open_picture
from kolors_course.dataset.reader import Sample
from kolors_course.errors import CourseError
from kolors_course.ranges import SHARE


@dataclass(frozen=True)
class Filter:
    """What a picture must be to stay; None keeps everything. The camp's is `Filter(1024, (0.5, 2.0))`.

    Attributes:
        min_side: width and height are at least this, in pixels.
        aspect: least and greatest width / height.
        max_blur: see `blur_of`, from 0 to 1.

    Raises:
        CourseError: a value is out of range.
    """

    min_side: int | None = None
    aspect: tuple[float, float] | None = None
    max_blur: float | None = None

    def __post_init__(self) -> None:
        if self.min_side is not None and self.min_side < 1:
            raise CourseError(f"smallest side {self.min_side}: give at least 1 pixel, such as 1024")
        if self.aspect is not None:
            low, high = self.aspect
            if not (0 < low <= high and math.isfinite(high)):
                raise CourseError(
                    f"aspect {low:g} to {high:g}: give the least and then the greatest width / height, such as 0.5 2"
                )

        if self.max_blur is not None:
            SHARE.check("greatest blur", self.max_blur)

    def __bool__(self) -> bool:
        """Whether anything can be turned away."""
        return (self.min_side, self.aspect, self.max_blur) != (None, None, None)

    def fault_of(self, sample: Sample) -> str:
        """Why a picture is turned away, or ""; it is opened only if its size does not tell.

        Raises:
            CourseError: it has to be opened and can no longer be read.
        """
        fault = self.fault(sample.size)
        if fault or self.max_blur is None:
            return fault
        blur = blur_of(open_picture(sample.path))
        return f"its blur is {blur:.2f}, more than {self.max_blur:g}" if blur > self.max_blur else ""

    def fault(self, size: tuple[int, int]) -> str:
        """Why a picture of (width, height) `size` is turned away, or ""."""
        width, height = size
        if self.min_side is not None and min(size) < self.min_side:
            return f"{width}x{height} is smaller than {self.min_side}x{self.min_side}"
        if self.aspect is not None and not self.aspect[0] <= width / height <= self.aspect[1]:
            return (
                f"width / height {width / height:.3g} is not within {self.aspect[0]:g} to {self.aspect[1]:g}"
            )
        return ""

    def leaves_nothing(self, sizes: Sequence[tuple[int, int]]) -> str:
        """What to say if every one of these (width, height) is turned away, or ""."""
        if not sizes or not all(map(self.fault, sizes)):
            return ""
        width, height = max(sizes, key=min)
        told = f"no picture passes the filter: the largest of {len(sizes)} is {width}x{height}"
        if self.min_side is not None and min(width, height) < self.min_side:
            return f"{told}, but both sides must have {self.min_side}; give --min-side {min(width, height)} or less"
        shapes = sorted(width / height for width, height in sizes)
        return f"{told}, and width / height is {shapes[0]:.3g} to {shapes[-1]:.3g}; give other bounds to --aspect"
