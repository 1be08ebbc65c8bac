"""Sampling along the straight path of flow matching and rectified flow: x_t = (1-t)·x₀ + t·ε, from t = 1 to 0."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from kolors_course.diffusion.grids import check_steps
from kolors_course.diffusion.states import Denoise, SamplerState
from kolors_course.errors import CourseError


def flow_times(num_inference_steps: int, shift: float = 1.0) -> Tensor:
    """N+1 times from 1 (noise) to 0 (clean), float32.

    Args:
        num_inference_steps: N.
        shift: spend more steps on noisy times: t' = shift·t/(1+(shift-1)·t) (arXiv 2403.03206, eq. 23). 1 is uniform;
            larger pictures need more, because they stay readable under more noise.

    Raises:
        CourseError: a number is out of range.
    """
    check_steps(num_inference_steps)
    if not shift > 0:
        raise CourseError(f"shift is {shift}; give a number above 0; 1 changes nothing")
    t = torch.linspace(1, 0, num_inference_steps + 1)
    return shift * t / (1 + (shift - 1) * t)


def flow_euler(
    velocity: Denoise, noise: Tensor, num_inference_steps: int, *, shift: float = 1.0
) -> Iterator[SamplerState]:
    """Euler's method on dx/dt = u(x, t); as arXiv 2209.03003 samples, with time reversed.

    On a path that is really straight one step is exact. Equal to `diffusers.FlowMatchEulerDiscreteScheduler` given
    the sigmas 1, 1-1/N, … 1/N.

    Args:
        velocity: `velocity(sample, t)` predicts ε - x₀; `t` in 0 … 1 is a tensor without dimensions.
        noise: standard normal, shape (B, ...); the state at t = 1.
        num_inference_steps, shift: see `flow_times`.

    Yields:
        N+1 states. Their `timestep` and `sigma` are both t; `sample` is x_t itself, on no other scale.
    """
    x, times = noise, flow_times(num_inference_steps, shift).tolist()
    for step, (t, t_next) in enumerate(pairwise(times)):
        u = velocity(x, torch.tensor(t, dtype=torch.float32, device=x.device))
        yield SamplerState(step, t, t, x, x - t * u)
        x = x + (t_next - t) * u
    yield SamplerState(num_inference_steps, 0.0, 0.0, x, x)
