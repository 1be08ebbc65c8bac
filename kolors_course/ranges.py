"""Which numbers are possible, said once for the library and for the flags of the command line."""

import math
from dataclasses import dataclass
from typing import Any

from kolors_course.errors import CourseError, brief


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; with `above` or `below`, without that end itself.

    Not a number and infinity lie in no range.
    """

    low: float
    high: float
    whole: bool = False
    above: bool = False
    below: bool = False

    def __contains__(self, value: Any) -> bool:
        kinds = (int,) if self.whole else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        if not (self.above or self.below):
            ends = f"from {self.low:,} to {self.high:,}"
        else:
            low = f"above {self.low:,}" if self.above else f"of at least {self.low:,}"
            ends = f"{low} and {'below' if self.below else 'at most'} {self.high:,}"
        return f"a {'whole ' if self.whole else ''}number {ends}"

    def read(self, text: str) -> float:
        """The number that `text` says.

        Raises:
            CourseError: it says none, or one outside.
        """
        try:
            value = int(text) if self.whole else float(text)
        except ValueError:  # also for thousands of digits
            value = math.nan  # which is in no range
        if value not in self:
            raise CourseError(f"must be {self}, not {brief(text, 24)}")
        return value

    def check(self, name: str, value: Any) -> None:
        """Refuse a number outside.

        Raises:
            CourseError: with `name`, the range and the value.
        """
        if value not in self:
            raise CourseError(f"{name} must be {self}, not {brief(value, 24)}")


def whole(low: int, high: int) -> Range:
    """Whole numbers, both ends included."""
    return Range(low, high, whole=True)


SEEDS = 2**32  # torch's CPU generator reads no more bits of a seed
SEED = whole(0, SEEDS - 1)
SHARE = Range(0, 1)
STEPS = whole(1, 1000)  # of a sampler: as many as the schedule has
GUIDANCE = Range(-1000, 1000)
POSITIVE = Range(0, 1_000_000, above=True)
