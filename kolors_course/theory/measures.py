"""How good a cloud of points is: which modes it reaches, what lies beside them, how far it is from another cloud."""

import torch
from torch import Tensor

from kolors_course.errors import CourseError


def modes_covered(points: Tensor, centres: Tensor, std: float, least_share: float = 0.01) -> int:
    """How many modes a generator reaches (as arXiv 1705.07761 counts them).

    A point belongs to the nearest centre if it is within three standard deviations of it.

    Args:
        points: (N, D).
        centres: (K, D).
        std: of one mode.
        least_share: of all points that a mode needs to count as reached.
    """
    distance, nearest = torch.cdist(points, centres).min(dim=1)
    hits = torch.bincount(nearest[distance < 3 * std], minlength=len(centres))
    return int((hits >= least_share * len(points)).sum())


def stray_share(points: Tensor, centres: Tensor, std: float) -> float:
    """Share of points further than three standard deviations from every mode; of true samples, exp(-4.5) = 1.1 %.

    Arguments as for `modes_covered`.
    """
    return float((torch.cdist(points, centres).min(dim=1).values > 3 * std).float().mean())


def energy_distance(first: Tensor, second: Tensor) -> float:
    """2·E|X-Y| - E|X-X'| - E|Y-Y'|: 0 exactly where two distributions are the same (Székely and Rizzo 2013).

    Args:
        first, second: (N, D) and (M, D), at least two rows each. The estimate is unbiased, and so may fall below 0.

    Raises:
        CourseError: there are too few points.
    """
    if min(len(first), len(second)) < 2:
        raise CourseError(
            f"energy distance of {len(first)} and {len(second)} points; give two at least of each"
        )

    def within(points: Tensor) -> Tensor:
        n = len(points)
        return torch.cdist(points, points).sum() / (n * (n - 1))

    return float(2 * torch.cdist(first, second).mean() - within(first) - within(second))
