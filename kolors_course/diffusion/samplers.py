"""From noise to picture: samplers, written as generators.

**Interface.** A sampler is a function

    sampler(denoise, latents, schedule, num_inference_steps, *, ...) -> Iterator[SamplerState]

with these arguments, and those that its own docstring explains:

- `denoise(sample, timestep) -> epsilon` predicts the noise; or x₀, v or the velocity, if `prediction_type` says so
  (see `predictions`). `sample` is on the variance-preserving scale that the U-Net expects, in the shape, type and
  device of `latents`; `timestep` is a float32 tensor without dimensions on the same device.
  `kolors_course.diffusion.guided` makes one from a U-Net.
- `latents` is standard normal noise, shape (B, ...). The sampler scales it, as the diffusers pipelines do.
- `schedule` is the one that the model was trained on.
- `num_inference_steps`, N, is how many steps to take. `spacing` and `steps_offset` say where: see
  `NoiseSchedule.timesteps`, and `NoiseSchedule.multistep_timesteps` for `dpmpp_2m` and `unipc`.
- `prediction_type` is what `denoise` predicts, one of `PREDICTION_TYPES`.
- `original`, a clean sample in the shape of `latents`, is what the noise is laid on: original + σ·ε at the noise
  level of `first_step`; the steps before that are left out (SDEdit, arXiv 2108.01073; "image-to-image"). The later
  the first step, the more of the original is left. Without an original the path starts from noise alone.

What comes out, and how:

- N+1 states are yielded, the points of the path from noise to picture: N where the model was asked, then the
  clean result (sigma 0). `*_, last = euler(...)` followed by `last.sample` is the picture's latent. With
  `first_step` = k the first k are missing.
- Work is done in float32 (float64 if the latents are), whatever the type of the latents.
- Gradients are the caller's choice: wrap the loop in `torch.no_grad()` unless you want them.
- Bad arguments raise CourseError at the first state, because generators start when they are asked.

**By name.** `SAMPLERS` in choices.py are deterministic; `STOCHASTIC_SAMPLERS` draw noise on the way and need a
`generator` besides. A new sampler is its step (`kolors_course.diffusion.steps` shows one) and one line there.

**Scale.** Inside, the state x = x₀ + σε is the model's input divided by √ᾱ (arXiv 2206.00364): there the ODE
is simply dx/dσ = ε(x, σ), and `denoise` sees x/√(σ²+1).
"""

from collections.abc import Callable, Iterator
from functools import partial
from inspect import signature
from typing import Any, Protocol

from torch import Tensor

from kolors_course.diffusion.ancestral import Generator
from kolors_course.diffusion.choices import SAMPLERS, STOCHASTIC_SAMPLERS
from kolors_course.diffusion.schedule import NoiseSchedule
from kolors_course.diffusion.states import Denoise, SamplerState
from kolors_course.errors import CourseError


class Sampler(Protocol):
    """The call that every sampler answers; the module's docstring says what the arguments mean."""

    def __call__(
        self,
        denoise: Denoise,
        latents: Tensor,
        schedule: NoiseSchedule,
        num_inference_steps: int,
        *,
        original: Tensor | None = None,
        first_step: int = 0,
    ) -> Iterator[SamplerState]: ...


class StochasticSampler(Protocol):
    """A sampler that draws noise on the way."""

    def __call__(
        self,
        denoise: Denoise,
        latents: Tensor,
        schedule: NoiseSchedule,
        num_inference_steps: int,
        *,
        generator: Generator,
        original: Tensor | None = None,
        first_step: int = 0,
    ) -> Iterator[SamplerState]: ...


def has_spacing(name: str) -> bool:
    """Whether the timesteps of the sampler called `name` can be chosen.

    Raises:
        CourseError: there is none; the message lists the names.
    """
    sampler = _named(name)
    fixed = sampler.keywords if isinstance(sampler, partial) else {}
    return "spacing" in signature(sampler).parameters and "spacing" not in fixed


def get_sampler(name: str, *, spacing: str = "leading", generator: Generator | None = None) -> Sampler:
    """The sampler called `name`, of either kind, which then takes the same arguments as every other.

    Args:
        spacing: see `NoiseSchedule.timesteps`.
        generator: what a stochastic sampler draws from; the others do without.

    Raises:
        CourseError: there is none (the message lists the names), it has no spacing to choose, or it needs a
            generator.
    """
    sampler = _named(name)
    options: dict[str, Any] = {}
    if has_spacing(name):
        options["spacing"] = spacing
    elif spacing != "leading":
        raise CourseError(f'sampler "{name}" has timesteps of its own; leave spacing at leading')
    if name in STOCHASTIC_SAMPLERS:
        if generator is None:
            raise CourseError(f'sampler "{name}" draws noise on the way; give it a generator')
        options["generator"] = generator
    return partial(sampler, **options)


def _named(name: str) -> Callable[..., Iterator[SamplerState]]:
    samplers: dict[str, Callable[..., Iterator[SamplerState]]] = {**SAMPLERS, **STOCHASTIC_SAMPLERS}
    if name not in samplers:
        raise CourseError(f'unknown sampler "{name}"; choose one of {", ".join(samplers)}')
    return samplers[name]
