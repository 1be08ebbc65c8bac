"""Where a sampler looks: the noise levels from noise to picture, and what stands at the first of them.

A path is laid by a function `lay(schedule, num_inference_steps, *, ...) -> Path`, such as `spaced`. Its keyword
arguments become arguments of every sampler that walks along it (see `kolors_course.diffusion.steps`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from kolors_course.diffusion.schedule import NoiseSchedule
from kolors_course.errors import CourseError


class Step(NamedTuple):
    """From point i of a path, at noise level σ, to the next; σ_next = 0 is the clean sample."""

    i: int
    σ: float
    σ_next: float


@dataclass(frozen=True, eq=False)
class Path:
    """N points at which the model is asked, and the clean end.

    Attributes:
        schedule: what the points lie on.
        timesteps: what the model is told at each point, N.
        sigmas: σ of each point, falling, and a final 0: N+1.
        noise_scale: a path from noise alone starts at ε times this, on the sigma scale.
    """

    schedule: NoiseSchedule
    timesteps: Sequence[float]
    sigmas: Sequence[float]
    noise_scale: float

    def begin(
        self, latents: Tensor, original: Tensor | None, first_step: int
    ) -> tuple[Tensor, Sequence[Step]]:
        """The first state, on the sigma scale and in float32 at least, and the steps to take from there.

        Args:
            latents: noise ε.
            original, first_step: see `kolors_course.diffusion.samplers`.

        Raises:
            CourseError: there is no such step, or no picture to skip steps with.
        """
        steps = [Step(i, σ, σ_next) for i, (σ, σ_next) in enumerate(pairwise(self.sigmas))]
        if not 0 <= first_step < len(steps):
            raise CourseError(f"first_step {first_step} of {len(steps)} steps: give 0 to {len(steps) - 1}")
        ε = _working_copy(latents)
        if original is not None:
            return _working_copy(original) + steps[first_step].σ * ε, steps[first_step:]
        if first_step:
            raise CourseError("first_step leaves out the noisiest steps, so it needs a picture as original")
        return ε * self.noise_scale, steps


def init_noise_sigma(max_sigma: float, spacing: str) -> float:
    """Factor that turns unit noise into the first state of a sigma-scale sampler.

    "trailing" and "linspace" start from pure noise, σ_max·ε. "leading" starts below the top of the schedule
    and pretends that unit noise is already a noisy sample: √(σ_max²+1)·ε, which the U-Net sees as plain ε.
    Equal to `diffusers.EulerDiscreteScheduler.init_noise_sigma`.
    """
    return (max_sigma**2 + 1) ** 0.5 if spacing == "leading" else max_sigma


def spaced(
    schedule: NoiseSchedule, num_inference_steps: int, *, spacing: str = "leading", steps_offset: int = 1
) -> Path:
    """At `NoiseSchedule.timesteps`, from `init_noise_sigma`."""
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    return Path(schedule, timesteps.tolist(), sigmas, init_noise_sigma(sigmas[0], spacing))


def spaced_whole(
    schedule: NoiseSchedule, num_inference_steps: int, *, spacing: str = "leading", steps_offset: int = 1
) -> Path:
    """At `NoiseSchedule.timesteps`, rounded to whole ones as those of the training."""
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset).round()
    return _from_unit_noise(schedule, timesteps, schedule.sigmas_at(timesteps))


def multistep(
    schedule: NoiseSchedule, num_inference_steps: int, *, spacing: str = "leading", steps_offset: int = 1
) -> Path:
    """At `NoiseSchedule.multistep_timesteps`."""
    timesteps = schedule.multistep_timesteps(num_inference_steps, spacing, steps_offset)
    return _from_unit_noise(schedule, timesteps, schedule.sigmas_at(timesteps))


def multistep_or_karras(
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    spacing: str = "leading",
    steps_offset: int = 1,
    use_karras_sigmas: bool = False,
) -> Path:
    """As `multistep`, or at `NoiseSchedule.karras_timesteps`; spacing and offset then do nothing."""
    if use_karras_sigmas:
        return _from_unit_noise(schedule, *schedule.karras_timesteps(num_inference_steps))
    return multistep(schedule, num_inference_steps, spacing=spacing, steps_offset=steps_offset)


def distilled(
    schedule: NoiseSchedule, num_inference_steps: int, *, original_inference_steps: int = 50
) -> Path:
    """At `NoiseSchedule.consistency_timesteps`."""
    timesteps = schedule.consistency_timesteps(num_inference_steps, original_inference_steps)
    return _from_unit_noise(schedule, timesteps, schedule.sigmas_at(timesteps))


def _from_unit_noise(schedule: NoiseSchedule, timesteps: Tensor, sigmas: Tensor) -> Path:
    """The model is handed ε itself at the first point, whatever the spacing, as by diffusers."""
    σ = sigmas.tolist()
    return Path(schedule, timesteps.tolist(), σ, (σ[0] ** 2 + 1) ** 0.5)


def _working_copy(latents: Tensor) -> Tensor:
    """The latents in float32 at least, in which samplers work."""
    return latents.to(torch.promote_types(latents.dtype, torch.float32))
