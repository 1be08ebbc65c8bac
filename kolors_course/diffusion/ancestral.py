"""Samplers that add fresh noise at every step: one noise, many pictures.

Going from σ to a smaller σ', each keeps some of the old noise and draws the rest anew. `ddpm`, `ddim` with η = 1 and
`euler_ancestral` are the same step in three notations. All take a `generator`; a list of them, one for each row,
makes every row independent of its neighbours. `kolors_course.diffusion.samplers` says what the other arguments mean.
"""

from collections.abc import Iterator, Sequence

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from kolors_course.diffusion.forward import posterior
from kolors_course.diffusion.schedule import NoiseSchedule, init_noise_sigma
from kolors_course.diffusion.states import Denoise, Model, SamplerState, begin

Generator = torch.Generator | Sequence[torch.Generator]


def ddpm(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    generator: Generator,
    spacing: str = "leading",
    steps_offset: int = 1,
    prediction_type: str = "epsilon",
    original: Tensor | None = None,
    first_step: int = 0,
) -> Iterator[SamplerState]:
    """Ancestral sampling: guess x₀, then draw from q(x_{t-1}|x_t, x₀) (arXiv 2006.11239, Algorithm 2 and eq. 7).

    Equal to `diffusers.DDPMScheduler` without clipping, variance_type "fixed_small".

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        generator: draws the noise of each step.
        spacing, steps_offset: see `NoiseSchedule.timesteps`.
    """
    model = Model(denoise, latents.dtype, prediction_type)
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset).round()
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x, steps = begin(latents, timesteps, sigmas, original, first_step, (sigmas[0] ** 2 + 1) ** 0.5)
    x = x / (steps[0].sigma ** 2 + 1) ** 0.5
    for step, timestep, σ, σ_next in steps:
        ᾱ, ᾱ_next = 1 / (σ**2 + 1), 1 / (σ_next**2 + 1)
        state, x0 = model.ask(x / ᾱ**0.5, step, timestep, σ)
        yield state
        mean, std = posterior(x, x0, ᾱ, ᾱ_next)
        x = mean + std * fresh_noise(x, generator)
    yield model.clean(x, num_inference_steps)


def ddim(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    generator: Generator | None = None,
    eta: float = 0.0,
    spacing: str = "leading",
    steps_offset: int = 1,
    prediction_type: str = "epsilon",
    original: Tensor | None = None,
    first_step: int = 0,
) -> Iterator[SamplerState]:
    """DDIM: between the ODE (η = 0) and ancestral sampling (η = 1) (arXiv 2010.02502, eq. 12 and 16).

    Equal to `diffusers.DDIMScheduler` with "leading" spacing, without clipping, set_alpha_to_one. (For other spacings
    diffusers steps by T // N, which does not always lead to the next timestep it looks at.)

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        generator: draws the noise of each step; not needed for η = 0.
        eta: η, how much of the noise is drawn anew.
        spacing, steps_offset: see `NoiseSchedule.timesteps`.
    """
    model = Model(denoise, latents.dtype, prediction_type)
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset).round()
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x, steps = begin(latents, timesteps, sigmas, original, first_step, (sigmas[0] ** 2 + 1) ** 0.5)
    x = x / (steps[0].sigma ** 2 + 1) ** 0.5
    for step, timestep, σ, σ_next in steps:
        ᾱ, ᾱ_next = 1 / (σ**2 + 1), 1 / (σ_next**2 + 1)
        state, x0 = model.ask(x / ᾱ**0.5, step, timestep, σ)
        yield state
        ε = (x - ᾱ**0.5 * x0) / (1 - ᾱ) ** 0.5
        std = eta * ((1 - ᾱ_next) / (1 - ᾱ) * (1 - ᾱ / ᾱ_next)) ** 0.5
        x = ᾱ_next**0.5 * x0 + (1 - ᾱ_next - std**2) ** 0.5 * ε
        if eta > 0:
            x = x + std * fresh_noise(x, generator)
    yield model.clean(x, num_inference_steps)


def euler_ancestral(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    generator: Generator,
    spacing: str = "leading",
    steps_offset: int = 1,
    prediction_type: str = "epsilon",
    original: Tensor | None = None,
    first_step: int = 0,
) -> Iterator[SamplerState]:
    """Euler's step to a lower noise level than wanted, then fresh noise up to it: "Euler a" of ComfyUI.

    Equal to `diffusers.EulerAncestralDiscreteScheduler`. σ_up² + σ_down² = σ'² as in DDPM.

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        generator: draws the noise of each step.
        spacing, steps_offset: see `NoiseSchedule.timesteps`.
    """
    model = Model(denoise, latents.dtype, prediction_type)
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x, steps = begin(latents, timesteps, sigmas, original, first_step, init_noise_sigma(sigmas[0], spacing))
    for step, timestep, σ, σ_next in steps:
        state, x0 = model.ask(x, step, timestep, σ)
        yield state
        σ_up = (σ_next**2 * (σ**2 - σ_next**2) / σ**2) ** 0.5
        σ_down = (σ_next**2 - σ_up**2) ** 0.5
        x = x + (σ_down - σ) * (x - x0) / σ + σ_up * fresh_noise(x, generator)
    yield model.clean(x, num_inference_steps)


def reverse_sde(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    generator: Generator,
    spacing: str = "leading",
    steps_offset: int = 1,
    prediction_type: str = "epsilon",
    original: Tensor | None = None,
    first_step: int = 0,
) -> Iterator[SamplerState]:
    """Euler-Maruyama on the reverse-time SDE (arXiv 2011.13456, eq. 6 and Algorithm 2 without its corrector).

    In the sigma scale it is dx = -∇log p(x)·d(σ²) backwards, plus noise of variance d(σ²): twice the ODE's slope, and
    noise that makes up for it, so that both have the same marginals. It needs many steps; the last goes to the clean
    sample that the model sees. Equal to `diffusers.ScoreSdeVeScheduler.step_pred`.

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        generator: draws the noise of each step.
        spacing, steps_offset: see `NoiseSchedule.timesteps`.
    """
    model = Model(denoise, latents.dtype, prediction_type)
    timesteps = schedule.timesteps(num_inference_steps, spacing, steps_offset)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x, steps = begin(latents, timesteps, sigmas, original, first_step, init_noise_sigma(sigmas[0], spacing))
    for step, timestep, σ, σ_next in steps:
        state, x0 = model.ask(x, step, timestep, σ)
        yield state
        if σ_next == 0:
            x = x0
            break
        score = (x0 - x) / σ**2
        falls = σ**2 - σ_next**2
        x = x + falls * score + falls**0.5 * fresh_noise(x, generator)
    yield model.clean(x, num_inference_steps)


def fresh_noise(x: Tensor, generator: Generator) -> Tensor:
    """Standard normal noise like `x`, drawn as diffusers draws it."""
    generators = generator if isinstance(generator, torch.Generator) else list(generator)
    return randn_tensor(x.shape, generator=generators, device=x.device, dtype=x.dtype)
