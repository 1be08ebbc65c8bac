"""Multistep solvers of the probability-flow ODE: they remember earlier answers instead of asking twice.

Both step in λ = -log σ, where the linear part of the ODE is solved exactly: from σ to σ' the state becomes
(σ'/σ)·x + (1-σ'/σ)·D. With D = x₀ that is Euler's step; a better D makes a better solver.
`kolors_course.diffusion.samplers` says what the arguments mean.
"""

from collections.abc import Iterator, Sequence
from math import expm1, factorial, log

import torch
from torch import Tensor

from kolors_course.diffusion.schedule import NoiseSchedule
from kolors_course.diffusion.states import Denoise, Model, SamplerState, begin
from kolors_course.errors import CourseError


def dpmpp_2m(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    spacing: str = "leading",
    steps_offset: int = 1,
    use_karras_sigmas: bool = False,
    prediction_type: str = "epsilon",
    original: Tensor | None = None,
    first_step: int = 0,
) -> Iterator[SamplerState]:
    """DPM-Solver++(2M): second order from one model call a step (arXiv 2211.01095, Algorithm 2).

    It extrapolates x₀ from the last two predictions. The first step has no past and the last an infinite h, so both
    are first order.

    Equal to `diffusers.DPMSolverMultistepScheduler` with algorithm_type "dpmsolver++", solver_order 2.

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        spacing, steps_offset: see `NoiseSchedule.multistep_timesteps`.
        use_karras_sigmas: use `NoiseSchedule.karras_timesteps` instead; spacing and offset then do nothing.
    """
    if use_karras_sigmas:
        timesteps, sigmas = schedule.karras_timesteps(num_inference_steps)
    else:
        timesteps = schedule.multistep_timesteps(num_inference_steps, spacing, steps_offset)
        sigmas = schedule.sigmas_at(timesteps)
    sigmas = sigmas.tolist()
    model = Model(denoise, latents.dtype, prediction_type)
    # diffusers hands the model unit noise here, whatever the spacing.
    x, steps = begin(latents, timesteps, sigmas, original, first_step, (sigmas[0] ** 2 + 1) ** 0.5)
    past = None
    for step, timestep, σ, σ_next in steps:
        state, x0 = model.ask(x, step, timestep, σ)
        yield state
        D = x0
        if past is not None and σ_next > 0:
            σ_past, x0_past = past
            r = log(σ_past / σ) / log(σ / σ_next)
            D = x0 + (x0 - x0_past) / (2 * r)
        x = (σ_next / σ) * x + (1 - σ_next / σ) * D
        past = σ, x0
    yield model.clean(x, num_inference_steps)


def unipc(
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
    solver_order: int = 2,
) -> Iterator[SamplerState]:
    """UniPC: predict a step, then let the next answer correct it, free of charge (arXiv 2302.04867, section 3, for
    x₀ and with the paper's B₂(h)).

    The predictor of order 2 is DPM-Solver++(2M)'s step. The corrector takes the step again, now with the answer at
    its far end, which was needed anyway; this raises the order by one.

    Equal to `diffusers.UniPCMultistepScheduler`. `sample` of a state is the predicted point, where the model is
    asked.

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        spacing, steps_offset: see `NoiseSchedule.multistep_timesteps`.
        solver_order: answers that the predictor uses; 2 for guided pictures, 3 without guidance.
    """
    if solver_order < 1:
        raise CourseError(f"solver_order is {solver_order}; give a whole number above 0")
    timesteps = schedule.multistep_timesteps(num_inference_steps, spacing, steps_offset)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    model = Model(denoise, latents.dtype, prediction_type)
    x, steps = begin(latents, timesteps, sigmas, original, first_step, (sigmas[0] ** 2 + 1) ** 0.5)
    known: list[tuple[float, Tensor]] = []  # σ and x₀ of the last answers, oldest first
    start, used = x, 0
    for step, timestep, σ, σ_next in steps:
        state, x0 = model.ask(x, step, timestep, σ)
        yield state
        if known:
            x = _step(start, known[-used:], σ, x0)
        known = [*known, (σ, x0)][-solver_order:]
        # Fewer answers at the start, where there are no more, and at the end, where steps get too long to trust them.
        start, used = x, min(len(known), num_inference_steps - step)
        x = _step(start, known[-used:], σ_next)
    yield model.clean(x, num_inference_steps)


def _step(
    x: Tensor, known: Sequence[tuple[float, Tensor]], σ_next: float, x0_next: Tensor | None = None
) -> Tensor:
    """From the σ of the newest answer to `σ_next`: UniP without, UniC with the answer there.

    D = x₀ + Σ ρ_k·(x₀ₖ - x₀)/r_k over the other answers, with r_k = (λ_k - λ)/h.
    """
    σ, x0 = known[-1]
    D = x0
    others = [(log(σ / σ_k), x0_k) for σ_k, x0_k in reversed(known[:-1])]
    if others or x0_next is not None:
        h = log(σ / σ_next)
        ratios = [rise / h for rise, _ in others]
        answers = [answer for _, answer in others]
        if x0_next is not None:
            ratios, answers = [*ratios, 1.0], [*answers, x0_next]
        for ρ, r, answer in zip(_weights(h, ratios), ratios, answers, strict=True):
            D = D + (ρ / r) * (answer - x0)
    return (σ_next / σ) * x + (1 - σ_next / σ) * D


def _weights(h: float, ratios: Sequence[float]) -> list[float]:
    """ρ that make the step exact up to order len(ratios) + 1 (arXiv 2302.04867, section 3)."""
    if len(ratios) == 1:
        return [0.5]  # as the authors' code and diffusers: exact up to a term of higher order
    φ = expm1(-h) / -h - 1
    wanted = []
    for n in range(1, len(ratios) + 1):
        wanted.append(φ * factorial(n) / expm1(-h))
        φ = φ / -h - 1 / factorial(n + 1)
    powers = torch.tensor([[r**n for r in ratios] for n in range(len(ratios))], dtype=torch.float64)
    return torch.linalg.solve(powers, torch.tensor(wanted, dtype=torch.float64)).tolist()
