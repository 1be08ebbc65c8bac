"""One-step solvers of the probability-flow ODE. No noise is added: the picture is a function of the first latents.

In the sigma scale x = x₀ + σε the ODE is simply dx/dσ = ε(x, σ) (arXiv 2206.00364, eq. 1; arXiv 2011.13456, eq. 13),
and ε is (x - x₀)/σ. `kolors_course.diffusion.steps` says how a sampler is written.
"""

from collections.abc import Callable
from math import exp, log

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from kolors_course.diffusion import paths
from kolors_course.diffusion.steps import Model, Steps, Walk, sampler


@sampler(paths.spaced)
def euler(model: Model, x: Tensor, steps: Steps) -> Walk:
    """Euler's method on dx/dσ = ε (arXiv 2206.00364, Algorithm 1 without its correction); Kolors' own.

    Equal to `diffusers.EulerDiscreteScheduler`, and the same update as DDIM with η = 0 (arXiv 2010.02502, eq. 12)
    in another scale. First order: half the step, half the error.

    The arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        x = x + (σ_next - σ) * (x - x0) / σ
    return x


@sampler(paths.spaced)
def heun(model: Model, x: Tensor, steps: Steps) -> Walk:
    """Heun's method: take Euler's step, ask again where it lands, and go the mean of both ways (arXiv 2206.00364,
    Algorithm 1).

    Second order for two model calls a step; the last step is Euler's, because ε means nothing at σ = 0. So N steps
    ask the model 2N-1 times. Equal to `diffusers.HeunDiscreteScheduler`, of which every second step is yielded.

    The arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        slope = (x - x0) / σ
        if σ_next > 0:
            landed = x + (σ_next - σ) * slope
            slope = (slope + (landed - model.x0(landed, i + 1)) / σ_next) / 2
        x = x + (σ_next - σ) * slope
    return x


@sampler(paths.spaced)
def probability_flow(model: Model, x: Tensor, steps: Steps, *, tolerance: float = 1e-4) -> Walk:
    """The ODE's own path, up to `tolerance`: the answer that the other solvers approximate.

    SciPy's Runge-Kutta of order 5 chooses its own steps between the points yielded (the black-box solver of
    arXiv 2011.13456, section 4.3), in log σ, where the slope is σε = x - x₀. It asks the model many times. At the
    last noise level, as every sampler does, it takes the clean sample that the model sees. Use it on small things.

    Args:
        tolerance: relative and absolute error of one step of SciPy's.

    The other arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """

    def slope(x: Tensor, log_σ: float) -> Tensor:
        return x - model.x0_at(x, exp(log_σ))

    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        x = _integral(slope, x, log(σ), log(σ_next), tolerance) if σ_next > 0 else x0
    return x


def _integral(
    slope: Callable[[Tensor, float], Tensor], x: Tensor, start: float, end: float, tolerance: float
) -> Tensor:
    """Where dx/dt = slope(x, t) leads from x, between the times `start` and `end`. SciPy wants flat arrays."""

    def flat_slope(t: float, flat: np.ndarray) -> np.ndarray:
        return slope(torch.as_tensor(flat).to(x).reshape(x.shape), t).flatten().cpu().numpy()

    flat = x.flatten().cpu().numpy()
    solution = solve_ivp(flat_slope, (start, end), flat, rtol=tolerance, atol=tolerance, t_eval=(end,))
    return torch.as_tensor(solution.y[:, -1]).to(x).reshape(x.shape)
