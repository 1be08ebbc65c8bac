"""How far a measured share or mean can be trusted: 95 % intervals.

They take pictures for independent. The two prompts of a held-out scene share its noise, so in truth they are a little
wider.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

Z = 1.959964  # of a normal distribution's middle 95 %


@dataclass(frozen=True)
class Interval:
    """A measured value, the ends of its 95 % interval, and of how many pictures it is."""

    value: float
    low: float
    high: float
    count: int


def wilson(right: int, count: int) -> Interval:
    """A share and its score interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927), which is one at 0 and 1 too.

    Raises:
        ValueError: `count` is not above 0, or `right` not from 0 to it.
    """
    if not 0 <= right <= count or count < 1:
        raise ValueError(f"{right} of {count} is no share")
    share, more = right / count, Z**2 / count
    middle = (share + more / 2) / (1 + more)
    arm = Z / (1 + more) * sqrt(share * (1 - share) / count + more / (4 * count))
    # At the ends the formula is exact, its rounding is not.
    low, high = min(share, max(0.0, middle - arm)), max(share, min(1.0, middle + arm))
    return Interval(share, low, high, count)


def mean_interval(values: Sequence[float]) -> Interval:
    """A mean, and 1.96 standard errors to each side; of a single value, nothing to either side.

    Raises:
        statistics.StatisticsError: there is no value.
    """
    mean = fmean(values)
    arm = Z * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
    return Interval(mean, mean - arm, mean + arm, len(values))
