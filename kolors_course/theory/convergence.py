"""How fast a sampler's error falls with its steps, measured on Gaussian data, for which the answer is known."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kolors_course.diffusion import NoiseSchedule, SamplerState
from kolors_course.errors import CourseError
from kolors_course.theory.teachers import gaussian_denoiser, gaussian_path

DATA_STD = 0.5
SIZES = (20, 40, 80, 160)
_T, _SIGMA_MIN, _SIGMA_MAX = 960, 0.05, 10.0  # steps of equal size in log σ, the time in which solvers think


@dataclass(frozen=True)
class Convergence:
    """Errors by number of steps.

    Attributes:
        steps: how many steps were taken.
        errors: the relative error of each.
    """

    steps: tuple[int, ...]
    errors: tuple[float, ...]

    @property
    def order(self) -> float:
        """p of error ∝ 1/stepsᵖ: the slope of log error on log steps, by least squares."""
        return -float(np.polyfit(np.log(self.steps), np.log(self.errors), 1)[0])


def even_schedule() -> NoiseSchedule:
    """σ from 0.05 to 10 in 960 timesteps, each larger than the last by the same factor."""
    σ = torch.from_numpy(np.geomspace(_SIGMA_MIN, _SIGMA_MAX, _T))
    return NoiseSchedule(1 / (1 + σ**2))


def measure_convergence(
    sampler: Callable[..., Iterator[SamplerState]], sizes: Sequence[int] = SIZES
) -> Convergence:
    """The error of a deterministic sampler against the exact path of the ODE (`gaussian_path`).

    All runs start at the same noise level and are compared at another that all of them visit.

    Args:
        sampler: must take `spacing`.
        sizes: numbers of steps, each a multiple of the first and a divisor of 960.

    Raises:
        CourseError: the sizes do not fit.
    """
    schedule, mean = even_schedule(), torch.zeros(1, dtype=torch.float64)
    denoise = gaussian_denoiser(schedule, mean, DATA_STD)
    errors = []
    for size in _checked(sizes):
        states = list(
            sampler(denoise, torch.ones(1, 1, dtype=torch.float64), schedule, size, spacing="trailing")
        )
        first, last = states[0], _common(states, sizes)
        exact = gaussian_path(_sigma_scale(first), mean, DATA_STD, first.sigma, last.sigma)
        errors.append(float((_sigma_scale(last) / exact - 1).abs().max()))
    return Convergence(tuple(sizes), tuple(errors))


def measure_weak_convergence(
    sampler: Callable[..., Iterator[SamplerState]],
    sizes: Sequence[int] = SIZES[:3],
    *,
    generator: torch.Generator,
    samples: int = 200_000,
) -> Convergence:
    """The error of the variance of a sampler that draws noise; single paths have no right answer.

    Arguments as for `measure_convergence`. The error of the measurement itself is about √(2/samples).
    """
    schedule, mean = even_schedule(), torch.zeros(1, dtype=torch.float64)
    denoise = gaussian_denoiser(schedule, mean, DATA_STD)
    errors = []
    for size in _checked(sizes):
        # As wide at the start as noisy data really are; the sampler itself starts a little too narrow.
        start = (1 + (DATA_STD / _SIGMA_MAX) ** 2) ** 0.5
        latents = start * torch.randn(samples, 1, generator=generator, dtype=torch.float64)
        states = sampler(denoise, latents, schedule, size, generator=generator, spacing="trailing")
        last = _common(states, sizes)
        errors.append(abs(float(_sigma_scale(last).var()) / (DATA_STD**2 + last.sigma**2) - 1))
    return Convergence(tuple(sizes), tuple(errors))


def _checked(sizes: Sequence[int]) -> Sequence[int]:
    if len(sizes) < 2 or any(size < 1 or _T % size or size % sizes[0] for size in sizes):
        raise CourseError(f"sizes {tuple(sizes)}: give two or more multiples of the first that divide {_T}")
    return sizes


def _common(states: Iterable[SamplerState], sizes: Sequence[int]) -> SamplerState:
    stop = _T // sizes[0] - 1
    return next(state for state in states if state.timestep == stop)


def _sigma_scale(state: SamplerState) -> torch.Tensor:
    return state.sample * (state.sigma**2 + 1) ** 0.5
