"""Pictures as points: the space in which distances between sets of pictures are measured.

The probe's 256 features of the whole picture. Published values use Inception's 2048 or CLIP's 768 instead and
cannot be compared with ours; the formulas do not care. Fewer features also need fewer pictures: see `distances.py`.
"""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor, nn

from kolors_course.evaluation.probes import Probe, pixels_of

SCALE = (
    5.0  # brings the mean square of features of world pictures to about 1: KID's kernel takes the third power
)


class ProbeFeatures(nn.Module):
    """The probe without its heads, and to scale: pixels (B, 3, 64, 64) in -1..1 -> features (B, 256).

    torchmetrics takes it as `feature` of its FrechetInceptionDistance and KernelInceptionDistance.
    """

    def __init__(self, probe: Probe):
        super().__init__()
        self.probe = probe
        self.num_features = next(iter(probe.heads["place"].parameters())).shape[1]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.probe.whole(self.probe.trunk(pixels)) / SCALE


@torch.no_grad()
def picture_features(probe: Probe, pictures: Sequence[Image.Image], batch_size: int = 100) -> Tensor:
    """The probe's features of pictures of any size: (N, 256), in double precision as the distances want them."""
    network = ProbeFeatures(probe)
    batches = range(0, len(pictures), batch_size)
    found = [network(pixels_of(pictures[start : start + batch_size])) for start in batches]
    return torch.cat(found).double() if found else torch.empty(0, network.num_features).double()


def pixel_vectors(pictures: Sequence[Image.Image], side: int = 32) -> Tensor:
    """Pictures as they look, averaged to `side` pixels a side: (N, 3·side²), double.

    Scaled so that the distance of two is the root mean square of their difference, in 0..1, as in `spread`.
    """
    flat = (pixels_of(pictures, side).flatten(1).double() + 1) / 2
    return flat / flat.shape[1] ** 0.5


def check_points(least: int, *sets: Tensor) -> None:
    """Refuse what no distance is defined for.

    Args:
        least: points that each set must have.

    Raises:
        ValueError: a set is no matrix (N, d) of finite numbers, has fewer points, or another d than the others.
    """
    for points in sets:
        if points.ndim != 2 or len(points) < least:
            raise ValueError(f"{tuple(points.shape)}: at least {least} points (N, d) are needed")
        if points.shape[1] != sets[0].shape[1]:
            raise ValueError(
                f"points of {points.shape[1]} and of {sets[0].shape[1]} features have no distance"
            )
        if not points.isfinite().all():
            raise ValueError("some features are not finite numbers")
