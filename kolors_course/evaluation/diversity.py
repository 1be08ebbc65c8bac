"""How many different pictures does a set hold, in effect? The Vendi score, which needs no reference."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kolors_course.evaluation.features import check_points


def vendi_score(points: Tensor) -> float:
    """The Vendi score (2210.02410, definition 3.1): exp(−Σ λ log λ), λ the eigenvalues of K/n, K the cosines.

    n points that have nothing in common count as n, n copies as one. It grows with n, so it is compared at equal n
    only. K/n and the much smaller XᵀX/n of points of length 1 have the same λ ≠ 0; the smaller of both is taken.

    Raises:
        ValueError: a point at 0, which has no direction, or see `check_points`.
    """
    check_points(1, points)
    points = points.double()
    if not points.norm(dim=1).all():
        raise ValueError("a point at 0 has no cosine with others")
    unit = F.normalize(points, dim=1)
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    shares = torch.linalg.eigvalsh(gram / len(unit)).clamp(min=0)
    return float(torch.exp(-torch.xlogy(shares, shares).sum()))
