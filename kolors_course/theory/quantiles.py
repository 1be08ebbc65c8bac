"""The exact path of the probability-flow ODE for data that are one number: where solvers can be measured.

In one dimension paths cannot overtake each other, so every point keeps its quantile: the share of all probability to
its left. That needs no solver, whatever the data are.
"""

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.theory.teachers import Mixture

_HALVINGS = 100  # of a bracket some hundred wide: down to the last digit of float64


def share_left(mixture: Mixture, x: Tensor, sigma: float) -> Tensor:
    """How much of the noisy data x₀ + σε lies to the left of each point: F_σ(x), (B,).

    Args:
        mixture: of one dimension.
        x: (B, 1).

    Raises:
        CourseError: the data have more than one dimension.
    """
    if mixture.means.shape[1] != 1:
        raise CourseError(f"data of {mixture.means.shape[1]} dimensions have no left and right; give one")
    means, spread = mixture.means[:, 0], (mixture.std[:, 0] ** 2 + sigma**2).sqrt()
    return (mixture.weights * torch.special.ndtr((x - means) / spread)).sum(dim=1)


def quantile_path(mixture: Mixture, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Where the probability-flow ODE of `mixture` leads from noise level σ to another: F_σ'(x') = F_σ(x).

    `gaussian_path` is the same for a single Gaussian, as a formula.

    Args:
        mixture: of one dimension; in float64, or tails are cut off.
        x: (B, 1), in the sigma scale x = x₀ + σε.

    Raises:
        CourseError: the data have more than one dimension.
    """
    share = share_left(mixture, x, sigma)
    reach = 40 * (sigma_next + mixture.std.max()) + mixture.means.abs().max()
    low, high = torch.full_like(x, -float(reach)), torch.full_like(x, float(reach))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        left = (share_left(mixture, middle, sigma_next) < share)[:, None]
        low, high = torch.where(left, middle, low), torch.where(left, high, middle)
    return (low + high) / 2
