"""One-step solvers of the probability-flow ODE. No noise is added: the picture is a function of the first latents.

In the sigma scale x = x₀ + σε the ODE is simply dx/dσ = ε(x, σ) (arXiv 2206.00364, eq. 1; arXiv 2011.13456, eq. 13).
`kolors_course.diffusion.samplers` says what the arguments mean.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import exp, log

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from kolors_course.diffusion.schedule import NoiseSchedule, init_noise_sigma
from kolors_course.diffusion.states import Denoise, Model, SamplerState, begin, working_copy


def euler(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    spacing: str = "leading",
    steps_offset: int = 1,
    prediction_type: str = "epsilon",
    original: Tensor | None = None,
    first_step: int = 0,
) -> Iterator[SamplerState]:
    """Euler's method on dx/dσ = ε (arXiv 2206.00364, Algorithm 1 without its correction); Kolors' own.

    Equal to `diffusers.EulerDiscreteScheduler`, and the same update as DDIM with η = 0 (arXiv 2010.02502, eq. 12)
    in another scale. First order: half the step, half the error.

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        spacing, steps_offset: see `NoiseSchedule.timesteps`.
    """
    model = Model(denoise, latents.dtype, prediction_type)
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x, steps = begin(latents, timesteps, sigmas, original, first_step, init_noise_sigma(sigmas[0], spacing))
    for step, timestep, σ, σ_next in steps:
        state, x0 = model.ask(x, step, timestep, σ)
        yield state
        x = x + (σ_next - σ) * (x - x0) / σ
    yield model.clean(x, num_inference_steps)


def heun(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    spacing: str = "leading",
    steps_offset: int = 1,
    prediction_type: str = "epsilon",
    original: Tensor | None = None,
    first_step: int = 0,
) -> Iterator[SamplerState]:
    """Heun's method: take Euler's step, ask again where it lands, and go the mean of both ways (arXiv 2206.00364,
    Algorithm 1).

    Second order for two model calls a step; the last step is Euler's, because ε means nothing at σ = 0. So N steps
    ask the model 2N-1 times. Equal to `diffusers.HeunDiscreteScheduler`, of which every second step is yielded.

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        spacing, steps_offset: see `NoiseSchedule.timesteps`.
    """
    model = Model(denoise, latents.dtype, prediction_type)
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x, steps = begin(latents, timesteps, sigmas, original, first_step, init_noise_sigma(sigmas[0], spacing))
    for step, timestep, σ, σ_next in steps:
        state, x0 = model.ask(x, step, timestep, σ)
        yield state
        slope = (x - x0) / σ
        if σ_next > 0:
            landed = x + (σ_next - σ) * slope
            _, x0_landed = model.ask(landed, step, timesteps[step + 1].item(), σ_next)
            slope = (slope + (landed - x0_landed) / σ_next) / 2
        x = x + (σ_next - σ) * slope
    yield model.clean(x, num_inference_steps)


def probability_flow(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    spacing: str = "leading",
    steps_offset: int = 1,
    prediction_type: str = "epsilon",
    tolerance: float = 1e-4,
) -> Iterator[SamplerState]:
    """The ODE's own path, up to `tolerance`: the answer that the other solvers approximate.

    SciPy's Runge-Kutta of order 5 chooses its own steps between the points yielded (the black-box solver of
    arXiv 2011.13456, section 4.3), in log σ. It asks the model many times. At the last noise level, as every sampler
    does, it takes the clean sample that the model sees. Use it on small things.

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type: see `samplers`.
        spacing, steps_offset: see `NoiseSchedule.timesteps`.
        tolerance: relative and absolute error of one step of SciPy's.
    """
    model = Model(denoise, latents.dtype, prediction_type)
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x = working_copy(latents) * init_noise_sigma(sigmas[0], spacing)

    def slope(log_σ: float, flat: Tensor) -> Tensor:
        """dx/d(log σ) = σε = x - x₀."""
        point = torch.as_tensor(flat).to(x).reshape(x.shape)
        _, x0 = model.ask(point, 0, schedule.timestep_of(exp(log_σ)), exp(log_σ))
        return (point - x0).flatten().cpu().numpy()

    for step, (timestep, (σ, σ_next)) in enumerate(zip(timesteps.tolist(), pairwise(sigmas), strict=True)):
        state, x0 = model.ask(x, step, timestep, σ)
        yield state
        if σ_next > 0:
            span, start = (log(σ), log(σ_next)), x.flatten().cpu().numpy()
            solution = solve_ivp(slope, span, start, rtol=tolerance, atol=tolerance, t_eval=span[1:])
            x0 = torch.as_tensor(solution.y[:, -1]).to(x).reshape(x.shape)
        x = x0
    yield model.clean(x, num_inference_steps)
