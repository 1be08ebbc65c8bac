"""Few-step sampling with a consistency model: one that answers x₀ of the whole path, not only of the next step."""

from torch import Tensor

from kolors_course.diffusion import paths
from kolors_course.diffusion.ancestral import Generator, fresh_noise
from kolors_course.diffusion.predictions import Level
from kolors_course.diffusion.steps import Model, Steps, Walk, sampler

SIGMA_DATA = 0.5  # of the boundary condition, arXiv 2303.01469, appendix C
TIMESTEP_SCALING = (
    10.0  # of arXiv 2310.04378's code and diffusers: c_skip is almost 0 but at the first timesteps
)


def boundary_scalings(timestep: Level) -> tuple[Level, Level]:
    """c_skip and c_out, with which f(x, t) = c_skip·x + c_out·x₀ is x itself at t = 0 (arXiv 2303.01469, eq. 5)."""
    t = timestep * TIMESTEP_SCALING
    return SIGMA_DATA**2 / (t**2 + SIGMA_DATA**2), t / (t**2 + SIGMA_DATA**2) ** 0.5


@sampler(paths.distilled)
def lcm(model: Model, x: Tensor, steps: Steps, *, generator: Generator) -> Walk:
    """Multistep consistency sampling: jump to the clean sample, add noise again, jump again (arXiv 2310.04378,
    Algorithm 3; arXiv 2303.01469, Algorithm 1).

    Equal to `diffusers.LCMScheduler`. One to eight steps, with a model distilled for it; an ordinary model gives
    blurred pictures. A step does not approximate an ODE, so there is no order of convergence: if the model is exact,
    one step is.

    Args:
        generator: draws the noise that is added again.
        original_inference_steps: see `NoiseSchedule.consistency_timesteps`.

    The other arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    x = x / (steps[0].σ ** 2 + 1) ** 0.5  # the paper's scale, αx₀ + ασε
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x * (σ**2 + 1) ** 0.5, i)
        c_skip, c_out = boundary_scalings(model.path.timesteps[i])
        x = c_skip * x + c_out * x0
        if σ_next > 0:
            α_next = 1 / (σ_next**2 + 1) ** 0.5
            x = α_next * x + σ_next * α_next * fresh_noise(x, generator)
    return x
