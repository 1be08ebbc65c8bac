"""Few-step sampling with a consistency model: one that answers x₀ of the whole path, not only of the next step."""

from collections.abc import Iterator

from torch import Tensor

from kolors_course.diffusion.ancestral import Generator, fresh_noise
from kolors_course.diffusion.predictions import Level
from kolors_course.diffusion.schedule import NoiseSchedule
from kolors_course.diffusion.states import Denoise, Model, SamplerState, begin

SIGMA_DATA = 0.5  # of the boundary condition, arXiv 2303.01469, appendix C
TIMESTEP_SCALING = (
    10.0  # of arXiv 2310.04378's code and diffusers: c_skip is almost 0 but at the first timesteps
)


def boundary_scalings(timestep: Level) -> tuple[Level, Level]:
    """c_skip and c_out, with which f(x, t) = c_skip·x + c_out·x₀ is x itself at t = 0 (arXiv 2303.01469, eq. 5)."""
    t = timestep * TIMESTEP_SCALING
    return SIGMA_DATA**2 / (t**2 + SIGMA_DATA**2), t / (t**2 + SIGMA_DATA**2) ** 0.5


def lcm(
    denoise: Denoise,
    latents: Tensor,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    generator: Generator,
    original_inference_steps: int = 50,
    prediction_type: str = "epsilon",
    original: Tensor | None = None,
    first_step: int = 0,
) -> Iterator[SamplerState]:
    """Multistep consistency sampling: jump to the clean sample, add noise again, jump again (arXiv 2310.04378,
    Algorithm 3; arXiv 2303.01469, Algorithm 1).

    Equal to `diffusers.LCMScheduler`. One to eight steps, with a model distilled for it; an ordinary model gives
    blurred pictures. A step does not approximate an ODE, so there is no order of convergence: if the model is exact,
    one step is.

    Args:
        denoise, latents, schedule, num_inference_steps, prediction_type, original, first_step: see
            `samplers`.
        generator: draws the noise that is added again.
        original_inference_steps: see `NoiseSchedule.consistency_timesteps`.
    """
    model = Model(denoise, latents.dtype, prediction_type)
    timesteps = schedule.consistency_timesteps(num_inference_steps, original_inference_steps)
    sigmas = schedule.sigmas_at(timesteps).tolist()
    x, steps = begin(latents, timesteps, sigmas, original, first_step, (sigmas[0] ** 2 + 1) ** 0.5)
    x = x / (steps[0].sigma ** 2 + 1) ** 0.5
    for step, timestep, σ, σ_next in steps:
        state, x0 = model.ask(x * (σ**2 + 1) ** 0.5, step, timestep, σ)
        yield state
        c_skip, c_out = boundary_scalings(timestep)
        x = c_skip * x + c_out * x0
        if σ_next > 0:
            α_next = 1 / (σ_next**2 + 1) ** 0.5
            x = α_next * x + σ_next * α_next * fresh_noise(x, generator)
    yield model.clean(x, num_inference_steps)
