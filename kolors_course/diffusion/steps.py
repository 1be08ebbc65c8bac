"""A sampler is its step: how to write one.

    @sampler(paths.spaced)                                    # where it looks
    def euler(model: Model, x: Tensor, steps: Steps) -> Walk:
        for i, σ, σ_next in steps:
            x0 = yield from model.ask(x, i)                   # the state goes out; the model's x₀ comes back
            x = x + (σ_next - σ) * (x - x0) / σ               # how it steps: the paper's formula
        return x

- `x` = x₀ + σε comes on the sigma scale, in float32 at least: noise, or a picture with noise on it. What is returned
  is the clean sample at σ = 0, where all scales are one.
- `steps` are those to take, from noise to picture. The last has σ_next = 0, where there is nothing to ask.
- `model.ask(x, i)` asks at point i of the path. So does `model.x0(x, i)`, for a second question within a step, which
  is no state of the path. `model.x0_at(x, σ)` asks between the points.
- Keyword arguments of the step become arguments of the sampler.

`sampler` adds the arguments of the path and those that all samplers share, which `kolors_course.diffusion.samplers`
explains, and does what all do: lay the path, begin, end with the clean state.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

import torch
from torch import Tensor

from kolors_course.diffusion.paths import Path, Step
from kolors_course.diffusion.predictions import to_x0
from kolors_course.diffusion.schedule import NoiseSchedule
from kolors_course.diffusion.states import Denoise, SamplerState
from kolors_course.errors import CourseError

Steps = Sequence[Step]
Walk = Generator[SamplerState, None, Tensor]


@dataclass(frozen=True, eq=False)
class Model:
    """A model as steps use it: asked in its own type, answered with x₀ in full precision.

    Every x is on the sigma scale, x₀ + σε.

    Attributes:
        denoise: see `kolors_course.diffusion.samplers`.
        prediction_type: what it predicts; one of `PREDICTION_TYPES`.
        dtype: the type that it works in.
        path: where it is asked.
    """

    denoise: Denoise
    prediction_type: str
    dtype: torch.dtype
    path: Path

    def ask(self, x: Tensor, i: int) -> Walk:
        """Ask at point i of the path: yield the state there, in the model's type, and return x₀."""
        timestep, σ = self.path.timesteps[i], self.path.sigmas[i]
        sample, x0 = self._answer(x, timestep, σ)
        yield SamplerState(i, timestep, σ, sample, x0.to(self.dtype))
        return x0

    def x0(self, x: Tensor, i: int) -> Tensor:
        """x₀ at point i of the path."""
        return self._answer(x, self.path.timesteps[i], self.path.sigmas[i])[1]

    def x0_at(self, x: Tensor, σ: float) -> Tensor:
        """x₀ at any noise level of the schedule, also between two points of the path."""
        return self._answer(x, self.path.schedule.timestep_of(σ), σ)[1]

    def clean(self, x: Tensor) -> SamplerState:
        """The last state, where there is no noise and nothing to ask."""
        sample = x.to(self.dtype)
        return SamplerState(len(self.path.timesteps), 0.0, 0.0, sample, sample)

    def _answer(self, x: Tensor, timestep: float, σ: float) -> tuple[Tensor, Tensor]:
        """What the model is shown, and the x₀ that its answer implies."""
        sample = (x / (σ**2 + 1) ** 0.5).to(self.dtype)
        # Filled in on the device: a copied number would make the host wait for all that a GPU has still to do.
        prediction = self.denoise(sample, torch.full((), timestep, dtype=torch.float32, device=x.device))
        if prediction.shape != x.shape:
            raise CourseError(
                f"denoise returned shape {tuple(prediction.shape)} for a sample of shape {tuple(x.shape)}; "
                "it must return the prediction in the shape of the sample"
            )
        return sample, to_x0(prediction.to(x.dtype), x, 1.0, σ, self.prediction_type)


def sampler(
    lay: Callable[..., Path],
) -> Callable[[Callable[..., Walk]], Callable[..., Iterator[SamplerState]]]:
    """Make a sampler of a step; the module's docstring shows how.

    Args:
        lay: the path it walks along, such as `kolors_course.diffusion.paths.spaced`.
    """

    def make(step: Callable[..., Walk]) -> Callable[..., Iterator[SamplerState]]:
        of_step, of_path = _keywords(step), _keywords(lay)

        def walk(
            denoise: Denoise,
            latents: Tensor,
            schedule: NoiseSchedule,
            num_inference_steps: int,
            *,
            prediction_type: str = "epsilon",
            original: Tensor | None = None,
            first_step: int = 0,
            **options: Any,
        ) -> Iterator[SamplerState]:
            path = lay(schedule, num_inference_steps, **{name: options[name] for name in of_path})
            model = Model(denoise, prediction_type, latents.dtype, path)
            x, steps = path.begin(latents, original, first_step)
            x = yield from step(model, x, steps, **{name: options[name] for name in of_step})
            if not isinstance(x, Tensor):
                raise CourseError(f"{step.__name__} returned {x!r}; end it with the clean sample: return x")
            yield model.clean(x)

        return _with_arguments(walk, step, [*of_step.values(), *of_path.values()])

    return make


def _keywords(function: Callable) -> dict[str, Parameter]:
    parameters = signature(function).parameters
    return {name: p for name, p in parameters.items() if p.kind is Parameter.KEYWORD_ONLY}


def _with_arguments(
    walk: Callable[..., Iterator[SamplerState]], step: Callable, options: Sequence[Parameter]
) -> Callable[..., Iterator[SamplerState]]:
    """`walk` under the name and docstring of its step, with `options` by name in place of its `**options`."""
    *shared, _ = signature(walk).parameters.values()
    # In a signature those that may only be given by name come last.
    arguments = Signature(
        sorted([*options, *shared], key=lambda p: p.kind), return_annotation=Iterator[SamplerState]
    )

    @wraps(step)
    def sample(*args: Any, **kwargs: Any) -> Iterator[SamplerState]:
        # Bound here, so that a misspelt argument is told at the call and not at the first state.
        try:
            given = arguments.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{step.__name__}() {error}") from None
        given.apply_defaults()
        return walk(*given.args, **given.kwargs)

    annotations = {name: p.annotation for name, p in arguments.parameters.items()}
    sample.__annotations__ = annotations | {"return": arguments.return_annotation}
    sample.__signature__ = arguments  # type: ignore[attr-defined]
    return sample
