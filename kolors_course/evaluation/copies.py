"""Memorisation: is a made picture a training picture again?

For each made picture the nearest training picture, in the probe's features or in pixels. What "near" is, held-out
pictures of the world say, which nobody can have copied: their distances are the baseline. A small ratio d₁/d₂ of
the nearest to the second nearest says that a picture is near to *one* training picture and not to all (as in
2301.13188, which compares with the mean of the nearest); a set with near duplicates hides copies from the ratio,
and none from the distance.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kolors_course.evaluation.features import check_points

RARE = 0.05  # share of the baseline that is nearer than the threshold


@dataclass(frozen=True)
class Nearest:
    """The nearest training picture of each of N pictures.

    Attributes:
        index: which it is, (N,).
        distance: how far, (N,).
        ratio: d₁/d₂, (N,), in 0..1; 0 for an exact copy, and 1 where both are.
    """

    index: Tensor
    distance: Tensor
    ratio: Tensor


@dataclass(frozen=True)
class Copies:
    """Made pictures against training pictures, beside held-out real ones.

    Attributes:
        threshold: distance that only `RARE` of the held-out pictures fall below.
        suspects: made pictures below it, the nearest first. A model that copies nothing has about `RARE` of them.
    """

    made: Nearest
    held_out: Nearest
    threshold: float
    suspects: tuple[int, ...]


def nearest_points(points: Tensor, training: Tensor) -> Nearest:
    """Find the nearest of `training` (M, d) for each of `points` (N, d).

    Raises:
        ValueError: fewer than two training points, or see `check_points`.
    """
    check_points(1, points)
    check_points(2, training, points.new_zeros(2, points.shape[1]))
    # Not by matrix products, whose rounding would put copies at a distance.
    far = torch.cdist(points.double(), training.double(), compute_mode="donot_use_mm_for_euclid_dist")
    first, second = far.topk(2, dim=1, largest=False).values.unbind(1)
    ratio = torch.where(second > 0, first / second, torch.ones_like(first))
    return Nearest(far.argmin(1), first, ratio)


def find_copies(made: Tensor, held_out: Tensor, training: Tensor) -> Copies:
    """Hold made pictures against the training pictures, and against what distances are usual.

    Args:
        made, held_out, training: points of one kind, (N, d): see `features.py`.

    Raises:
        ValueError: see `nearest_points`.
    """
    found, usual = nearest_points(made, training), nearest_points(held_out, training)
    threshold = float(usual.distance.quantile(RARE))
    order = found.distance.argsort().tolist()
    return Copies(found, usual, threshold, tuple(i for i in order if found.distance[i] < threshold))
