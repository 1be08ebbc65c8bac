"""Multistep solvers of the probability-flow ODE: they remember earlier answers instead of asking twice.

Both step in λ = -log σ, where the linear part of the ODE is solved exactly: from σ to σ' the state becomes
(σ'/σ)·x + (1-σ'/σ)·D. With D = x₀ that is Euler's step; a better D makes a better solver.
`kolors_course.diffusion.steps` says how a sampler is written.
"""

from collections.abc import Sequence
from math import expm1, factorial, log

import torch
from torch import Tensor

from kolors_course.diffusion import paths
from kolors_course.diffusion.steps import Model, Steps, Walk, sampler
from kolors_course.errors import CourseError


@sampler(paths.multistep_or_karras)
def dpmpp_2m(model: Model, x: Tensor, steps: Steps) -> Walk:
    """DPM-Solver++(2M): second order from one model call a step (arXiv 2211.01095, Algorithm 2).

    It extrapolates x₀ from the last two predictions. The first step has no past and the last an infinite h, so both
    are first order.

    Equal to `diffusers.DPMSolverMultistepScheduler` with algorithm_type "dpmsolver++", solver_order 2.

    Args:
        use_karras_sigmas: look at `NoiseSchedule.karras_timesteps` instead; spacing and offset then do nothing.

    The other arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    past: tuple[float, Tensor] | None = None  # σ and x₀ of the last answer
    for i, σ, σ_next in steps:
        x0 = D = yield from model.ask(x, i)
        if past and σ_next > 0:
            σ_past, x0_past = past
            r = log(σ_past / σ) / log(σ / σ_next)
            D = x0 + (x0 - x0_past) / (2 * r)
        x = (σ_next / σ) * x + (1 - σ_next / σ) * D
        past = σ, x0
    return x


@sampler(paths.multistep)
def unipc(model: Model, x: Tensor, steps: Steps, *, solver_order: int = 2) -> Walk:
    """UniPC: predict a step, then let the next answer correct it, free of charge (arXiv 2302.04867, section 3, for
    x₀ and with the paper's B₂(h)).

    The predictor of order 2 is DPM-Solver++(2M)'s step. The corrector takes the step again, now with the answer at
    its far end, which was needed anyway; this raises the order by one.

    Equal to `diffusers.UniPCMultistepScheduler`. `sample` of a state is the predicted point, where the model is
    asked.

    Args:
        solver_order: answers that the predictor uses; 2 for guided pictures, 3 without guidance.

    The other arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    if solver_order < 1:
        raise CourseError(f"solver_order is {solver_order}; give a whole number above 0")
    known: list[tuple[float, Tensor]] = []  # σ and x₀ of the last answers, oldest first
    start, N = x, len(model.path.timesteps)
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        x = _step(start, known, σ, x0) if known else x
        # Fewer answers at the start, where there are no more, and at the end, where steps get too long to trust them.
        known = [*known, (σ, x0)][-min(solver_order, N - i) :]
        start, x = x, _step(x, known, σ_next)
    return x


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
