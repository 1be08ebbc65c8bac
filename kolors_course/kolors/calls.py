"""Network calls: what sampling costs on any machine. One call is the U-Net asked once about one picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kolors_course.diffusion import Denoise, NoiseSchedule, SamplerState, get_sampler
from kolors_course.kolors.settings import Sampling


def planned_calls(sampling: Sampling, schedule: NoiseSchedule | None = None) -> int:
    """Network calls of one picture, counted by walking the sampler with a network that does nothing.

    A guided question is two calls. What `sampling` asks for in vain, no network is needed to find out.

    Args:
        schedule: of the model; Kolors' own if None.

    Raises:
        CourseError: unknown sampler, or steps, spacing and sampler that do not go together.
    """
    questions = 0

    def nothing(sample: Tensor, timestep: Tensor) -> Tensor:
        nonlocal questions
        questions += 1
        return torch.zeros_like(sample)

    for _ in _walk(sampling, schedule or NoiseSchedule.kolors(), nothing):
        pass
    return questions * (2 if sampling.guidance_scale > 1 else 1)


def visited_timesteps(sampling: Sampling, schedule: NoiseSchedule) -> dict[int, float]:
    """Step, counted from 0 -> the timestep at which it begins; steps that image-to-image leaves out are missing.

    Raises:
        CourseError: see `planned_calls`.
    """
    walk = _walk(sampling, schedule, lambda sample, timestep: torch.zeros_like(sample))
    return {state.step: state.timestep for state in walk if state.step < sampling.steps}


def _walk(sampling: Sampling, schedule: NoiseSchedule, denoise: Denoise) -> Iterator[SamplerState]:
    """The path of one picture of one cell."""
    latents = torch.zeros(1, 1, 1, 1)
    sampler = get_sampler(sampling.sampler, spacing=sampling.spacing, generator=torch.Generator())
    start: dict[str, Any] = {
        "original": latents if sampling.denoise < 1 else None,
        "first_step": sampling.first_step,
    }
    return sampler(denoise, latents, schedule, sampling.steps, **start)


@dataclass
class CallCount:
    """Network calls counted so far."""

    calls: int = 0


@contextmanager
def counted_calls(unet: nn.Module) -> Iterator[CallCount]:
    """Count the calls of `unet` inside: a batch of B is B calls."""
    count = CallCount()

    def add(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        count.calls += len(arguments[0])

    hook = unet.register_forward_pre_hook(add)
    try:
        yield count
    finally:
        hook.remove()
