"""How far is one set of pictures from another? FID, KID and CMMD, of any features.

All compare two clouds of points (N, d) and (M, d); none sees whether a picture fits its prompt.

* FID takes both clouds for Gaussians. Small samples make it too large: two samples of n points of the *same*
  Gaussian N(0, I_d) are (d² + 5d)/2n apart on the average (leading order in 1/n: 2d/n of the means, (d² + d)/2n of
  the covariances), so it can only be compared at equal n.
* KID has no such bias, and falls below 0 by chance.
* CMMD is KID's squared distance with another kernel, and biased by about 1/n.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from kolors_course.evaluation.features import check_points

CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0


def frechet_distance(one: Tensor, two: Tensor) -> float:
    """FID (1706.08500, eq. 6): |μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) of two clouds, with unbiased covariances.

    With centred points X = QR, Σ = RᵀR/(n − 1), and Tr(Σ₁Σ₂)^½ is the sum of the singular values of R₁R₂ᵀ, over the
    same
    factors: exact for fewer points than features too, where the root of a singular matrix is noisy.

    Raises:
        ValueError: see `check_points`; two points are the fewest.
    """
    check_points(2, one, two)
    means, roots = zip(*(_mean_and_root(points.double()) for points in (one, two)), strict=True)
    traces = sum(root.square().sum() for root in roots)
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    return float((means[0] - means[1]).square().sum() + traces - 2 * shared)


def _mean_and_root(points: Tensor) -> tuple[Tensor, Tensor]:
    """μ (d), and R with RᵀR = Σ."""
    mean = points.mean(0)
    return mean, torch.linalg.qr(points - mean, mode="r").R / (len(points) - 1) ** 0.5


def frechet_infinity(one: Tensor, two: Tensor, generator: torch.Generator, sizes: int = 15) -> float:
    """FID∞ (1911.07023): the FID of endlessly many points, by a line through FIDs of subsets over 1/n.

    Both clouds shrink together here, so that the bias of both goes; the paper's reference is so large that it has
    none.

    Args:
        sizes: numbers of points to measure at, evenly from a fifth of the smaller cloud to all of it.

    Raises:
        ValueError: fewer than 10 points in a cloud, or see `check_points`.
    """
    check_points(10, one, two)
    most = min(len(one), len(two))
    counts = torch.linspace(most / 5, most, sizes).round().int().tolist()
    values = [frechet_distance(*(_subset(points, n, generator) for points in (one, two))) for n in counts]
    design = torch.stack([torch.ones(sizes), 1 / torch.tensor(counts)], dim=1).double()
    return float(torch.linalg.lstsq(design, torch.tensor(values).double()[:, None]).solution[0])


def _subset(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return points[torch.randperm(len(points), generator=generator)[:count]]


def kernel_distance(one: Tensor, two: Tensor) -> float:
    """KID (1801.01401, eq. 4): the unbiased squared MMD with the kernel (x·y/d + 1)³, of all points at once.

    Programs that average over random subsets add noise and no meaning.

    Raises:
        ValueError: see `check_points`; two points are the fewest.
    """
    check_points(2, one, two)
    return _unbiased(*_kernels(one.double(), two.double(), _cubic))


def kernel_interval(
    one: Tensor, two: Tensor, generator: torch.Generator, rounds: int = 200
) -> tuple[float, float]:
    """The middle 95 % of what KID would be if both clouds were one: their points shuffled among them `rounds` times.

    A KID above it is more than chance (permutation test, Gretton et al., JMLR 13, 2012, section 8).

    Raises:
        ValueError: see `kernel_distance`.
    """
    check_points(2, one, two)
    points = torch.cat([one, two]).double()
    kernel = _cubic(points, points)
    values = []
    for _ in range(rounds):
        first, second = torch.randperm(len(points), generator=generator).split([len(one), len(two)])
        parts = ((first, first), (second, second), (first, second))
        values.append(_unbiased(*(kernel[rows][:, columns] for rows, columns in parts)))
    low, high = torch.tensor(values).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def clip_mmd(one: Tensor, two: Tensor) -> float:
    """CMMD (2401.09603, section 4): the squared MMD with the kernel exp(−|x − y|²/2σ²), σ = 10, times 1000.

    The paper takes CLIP embeddings of length 1; σ is for these, so of other features compare values, do not quote
    them. As in its code, pairs of a point with itself count too: at n points it is not 0 for two samples of one
    distribution.

    Raises:
        ValueError: see `check_points`.
    """
    check_points(1, one, two)

    def gaussian(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(x, y).square() / (2 * CMMD_SIGMA**2))

    own, other, between = _kernels(one.double(), two.double(), gaussian)
    return float(own.mean() + other.mean() - 2 * between.mean()) * CMMD_SCALE


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _kernels(
    one: Tensor, two: Tensor, kernel: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    return kernel(one, one), kernel(two, two), kernel(one, two)


def _unbiased(own: Tensor, other: Tensor, between: Tensor) -> float:
    """E k(x, x') + E k(y, y') − 2 E k(x, y), from different x and x' only."""
    within = sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (own, other))
    return float(within - 2 * between.mean())
