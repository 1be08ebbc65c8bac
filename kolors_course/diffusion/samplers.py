"""From noise to picture: solvers of the probability-flow ODE, written as generators.

**Interface.** A sampler is a function

    sampler(denoise, latents, schedule, num_inference_steps, *, ...) -> Iterator[SamplerState]

- `denoise(sample, timestep) -> epsilon` predicts the noise. `sample` is on the variance-preserving scale
  that the U-Net expects, in the shape, type and device of `latents`; `timestep` is a float32 tensor without
  dimensions on the same device. `kolors_course.diffusion.guided` makes one from a U-Net.
- `latents` is standard normal noise, shape (B, ...). The sampler scales it, as the diffusers pipelines do.
- N+1 states come out, the points of the path from noise to picture: N where the model was asked, then the
  clean result (sigma 0). `*_, last = euler(...)` followed by `last.sample` is the picture's latent.
- Work is done in float32 (float64 if the latents are), whatever the type of the latents.
- Gradients are the caller's choice: wrap the loop in `torch.no_grad()` unless you want them.
- Bad arguments raise CourseError at the first state, because generators start when they are asked.

A new sampler has the same four arguments, gives every further one a default, and is added to `SAMPLERS`.

**Scale.** Inside, the state x = x₀ + σε is the model's input divided by √ᾱ (arXiv 2206.00364): there the ODE
is simply dx/dσ = ε(x, σ), and `denoise` sees x/√(σ²+1).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import log
from typing import Protocol

import torch
from torch import Tensor

from kolors_course.diffusion.schedule import NoiseSchedule, init_noise_sigma
from kolors_course.errors import CourseError

Denoise = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class SamplerState:
    """One point of the path from noise to picture.

    Attributes:
        step: 0 for the initial noise … N for the clean result.
        timestep: what the model is told at this point; 0 for the clean result.
        sigma: noise level σ of the sample relative to its signal; 0 for the clean result.
        sample: the state on the variance-preserving scale, shape of the latents: the model's input.
        pred_original_sample: the clean sample x₀ that the model sees in `sample`; at the end, `sample`.
    """

    step: int
    timestep: float
    sigma: float
    sample: Tensor
    pred_original_sample: Tensor


class Sampler(Protocol):
    """The call that every sampler answers; the module's docstring says what the arguments mean."""

    def __call__(
        self, denoise: Denoise, latents: Tensor, schedule: NoiseSchedule, num_inference_steps: int
    ) -> Iterator[SamplerState]: ...


def euler(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    spacing: str = "leading",
    steps_offset: int = 1,
) -> Iterator[SamplerState]:
    """Euler's method on dx/dσ = ε (arXiv 2206.00364, Algorithm 1 without its correction); Kolors' own.

    Equal to `diffusers.EulerDiscreteScheduler` for epsilon prediction, and the same update as DDIM with η = 0
    (arXiv 2010.02502, eq. 12) in another scale. First order: half the step, half the error.

    Args:
        denoise, latents, schedule, num_inference_steps: see the module.
        spacing, steps_offset: see `NoiseSchedule.timesteps`.
    """
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x = _working_copy(latents) * init_noise_sigma(sigmas[0], spacing)
    for step, (timestep, (σ, σ_next)) in enumerate(zip(timesteps.tolist(), pairwise(sigmas), strict=True)):
        state, x0 = _ask(denoise, x, step, timestep, σ, latents.dtype)
        yield state
        x = x + (σ_next - σ) * (x - x0) / σ
    yield _clean(x, num_inference_steps, latents.dtype)


def dpmpp_2m(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    spacing: str = "leading",
    steps_offset: int = 1,
    use_karras_sigmas: bool = False,
) -> Iterator[SamplerState]:
    """DPM-Solver++(2M): second order from one model call a step (arXiv 2211.01095, Algorithm 2).

    It steps in λ = -log σ, where the linear part of the ODE is solved exactly, and extrapolates x₀ from the
    last two predictions. Without the extrapolation the step is Euler's. The first step has no past and the
    last an infinite h, so both are first order.

    Equal to `diffusers.DPMSolverMultistepScheduler` with algorithm_type "dpmsolver++", solver_order 2.

    Args:
        denoise, latents, schedule, num_inference_steps: see the module.
        spacing, steps_offset: see `NoiseSchedule.multistep_timesteps`.
        use_karras_sigmas: use `NoiseSchedule.karras_timesteps` instead; spacing and offset then do nothing.
    """
    if use_karras_sigmas:
        timesteps, sigmas = schedule.karras_timesteps(num_inference_steps)
    else:
        timesteps = schedule.multistep_timesteps(num_inference_steps, spacing, steps_offset)
        sigmas = schedule.sigmas_at(timesteps)
    sigmas = sigmas.tolist()
    # diffusers hands the model unit noise here, whatever the spacing.
    x = _working_copy(latents) * (sigmas[0] ** 2 + 1) ** 0.5
    past = None
    for step, (timestep, (σ, σ_next)) in enumerate(zip(timesteps.tolist(), pairwise(sigmas), strict=True)):
        state, x0 = _ask(denoise, x, step, timestep, σ, latents.dtype)
        yield state
        D = x0
        if past is not None and σ_next > 0:
            σ_past, x0_past = past
            r = log(σ_past / σ) / log(σ / σ_next)
            D = x0 + (x0 - x0_past) / (2 * r)
        x = (σ_next / σ) * x + (1 - σ_next / σ) * D
        past = σ, x0
    yield _clean(x, num_inference_steps, latents.dtype)


SAMPLERS: dict[str, Sampler] = {
    "euler": euler,
    "dpm++2m": dpmpp_2m,
    "dpm++2m-karras": partial(dpmpp_2m, use_karras_sigmas=True),
}


def get_sampler(name: str) -> Sampler:
    """The sampler called `name`.

    Raises:
        CourseError: there is none; the message lists the names.
    """
    try:
        return SAMPLERS[name]
    except KeyError:
        raise CourseError(f'unknown sampler "{name}"; choose one of {", ".join(SAMPLERS)}') from None


def _working_copy(latents: Tensor) -> Tensor:
    return latents.to(torch.promote_types(latents.dtype, torch.float32))


def _ask(
    denoise: Denoise, x: Tensor, step: int, timestep: float, σ: float, dtype: torch.dtype
) -> tuple[SamplerState, Tensor]:
    """Ask the model at x (sigma scale); return the state in `dtype`, and x₀ = x - σε in full precision."""
    sample = (x / (σ**2 + 1) ** 0.5).to(dtype)
    epsilon = denoise(sample, torch.tensor(timestep, dtype=torch.float32, device=x.device))
    if epsilon.shape != x.shape:
        raise CourseError(
            f"denoise returned shape {tuple(epsilon.shape)} for a sample of shape {tuple(x.shape)}; "
            "it must return the predicted noise, in the shape of the sample"
        )
    x0 = x - σ * epsilon.to(x.dtype)
    return SamplerState(step, timestep, σ, sample, x0.to(dtype)), x0


def _clean(x: Tensor, step: int, dtype: torch.dtype) -> SamplerState:
    sample = x.to(dtype)
    return SamplerState(step, 0.0, 0.0, sample, sample)
