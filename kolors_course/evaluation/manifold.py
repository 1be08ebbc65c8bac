"""Quality and variety apart: precision, recall, density and coverage.

A cloud is taken for the union of balls, one around each point, as wide as the distance to its k-th nearest
neighbour.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kolors_course.evaluation.features import check_points

NEAREST = 5  # k


@dataclass(frozen=True)
class Manifold:
    """How two clouds lie in each other.

    Attributes:
        precision: share of made points inside a real ball (quality).
        recall: share of real points inside a made ball (variety); a few made points far out have large balls and
            raise it for nothing.
        density: real balls around a made point, over k; 1 for the same distribution, and may be above it.
        coverage: share of real balls with a made point inside (variety, hard to deceive).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(real: Tensor, made: Tensor, nearest: int = NEAREST) -> Manifold:
    """Precision and recall (1904.06991, eq. 1 and 2), density and coverage (2002.09797, eq. 3 and 5).

    The same distribution has density 1, and the coverage of `expected_coverage`: 0.97 of equally many points.

    Args:
        real, made: (N, d) and (M, d).

    Raises:
        ValueError: no more than `nearest` points in a cloud, or see `check_points`.
    """
    check_points(nearest + 1, real, made)
    between = torch.cdist(real.double(), made.double())  # (N, M)
    inside = between < _radii(real, nearest)[:, None]  # the made point in the real one's ball
    return Manifold(
        precision=float(inside.any(0).double().mean()),
        recall=float((between < _radii(made, nearest)).any(1).double().mean()),
        density=float(inside.sum(0).double().mean()) / nearest,
        coverage=float(inside.any(1).double().mean()),
    )


def expected_coverage(real: int, made: int, nearest: int = NEAREST) -> float:
    """The coverage of so many real points by so many made ones of the same distribution (2002.09797, lemma 2).

    A real point is left out if its k nearest among all others, real and made, are real ones.
    """
    left_out = 1.0
    for i in range(nearest):
        left_out *= (real - 1 - i) / (real + made - 1 - i)
    return 1 - left_out


def _radii(points: Tensor, nearest: int) -> Tensor:
    """The distance of each point to its k-th nearest other one: (N,)."""
    points = points.double()
    return torch.cdist(points, points).kthvalue(nearest + 1, dim=1).values  # the first is itself
