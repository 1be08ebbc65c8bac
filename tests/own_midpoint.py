"""A sampler that the library does not have, for tests of what others may write."""

from math import sqrt

from kolors_course.diffusion import paths
from kolors_course.diffusion.steps import sampler


@sampler(paths.spaced)
def midpoint(model, x, steps):
    """DPM-Solver++(2S): step with the x₀ that the model sees halfway in log σ (arXiv 2211.01095, Algorithm 1)."""
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        if σ_next > 0:
            halfway = sqrt(σ * σ_next)
            x0 = model.x0_at(x0 + halfway / σ * (x - x0), halfway)
        x = x0 + σ_next / σ * (x - x0)
    return x
