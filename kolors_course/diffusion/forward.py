"""The forward process, from picture to noise, and what it says about one step back."""

from collections.abc import Iterator

import torch
from torch import Tensor

from kolors_course.diffusion.schedule import NoiseSchedule


def forward_process(x0: Tensor, schedule: NoiseSchedule, *, generator: torch.Generator) -> Iterator[Tensor]:
    """Drown `x0` step by step: x_t = √(1-β_t)·x_{t-1} + √β_t·z (arXiv 2006.11239, eq. 2).

    Args:
        x0: clean samples, shape (B, ...).
        generator: draws z, on the device of `x0`.

    Yields:
        The samples at timestep 0, 1, … T-1, each the shape of `x0`. `NoiseSchedule.add_noise` jumps to any of them.
    """
    x = x0
    for β in schedule.betas.tolist():
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        x = (1 - β) ** 0.5 * x + β**0.5 * z
        yield x


def posterior(x_t: Tensor, x0: Tensor, ᾱ: float, ᾱ_before: float) -> tuple[Tensor, float]:
    """Where x_t came from if its clean sample was x₀: mean and standard deviation of q(x_{t-1}|x_t, x₀).

    arXiv 2006.11239, eq. 7, where the step before need not be the timestep before.

    Args:
        x_t, x0: same shape.
        ᾱ, ᾱ_before: share of signal at x_t and, larger, at x_{t-1}; 1 is the clean sample.
    """
    β = 1 - ᾱ / ᾱ_before
    mean = (ᾱ_before**0.5 * β / (1 - ᾱ)) * x0 + ((1 - β) ** 0.5 * (1 - ᾱ_before) / (1 - ᾱ)) * x_t
    return mean, ((1 - ᾱ_before) / (1 - ᾱ) * β) ** 0.5
