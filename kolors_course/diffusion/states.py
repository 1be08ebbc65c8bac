"""What every sampler shares: the call to the model, and the states it yields."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from kolors_course.diffusion.predictions import to_x0
from kolors_course.errors import CourseError

Denoise = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class SamplerState:
    """One point of the path from noise to picture.

    Attributes:
        step: 0 for the initial noise … N for the clean result.
        timestep: what the model is told at this point; 0 for the clean result.
        sigma: noise level σ of the sample relative to its signal; 0 for the clean result.
        sample: the state on the variance-preserving scale, shape of the latents: the model's input.
        pred_original_sample: the clean sample x₀ that the model sees in `sample`; at the end, `sample`.
    """

    step: int
    timestep: float
    sigma: float
    sample: Tensor
    pred_original_sample: Tensor


@dataclass(frozen=True)
class Model:
    """A model as samplers use it: asked in its own type, answered with x₀ in full precision.

    Attributes:
        denoise: see `kolors_course.diffusion.samplers`.
        dtype: the type that the model works in.
        prediction_type: what it predicts; one of `PREDICTION_TYPES`.
    """

    denoise: Denoise
    dtype: torch.dtype
    prediction_type: str = "epsilon"

    def ask(self, x: Tensor, step: int, timestep: float, σ: float) -> tuple[SamplerState, Tensor]:
        """Ask about x = x₀ + σε (sigma scale); return the state in `dtype`, and x₀ in full precision."""
        sample = (x / (σ**2 + 1) ** 0.5).to(self.dtype)
        # Filled in on the device: a copied number would make the host wait for all that a GPU has still to do.
        prediction = self.denoise(sample, torch.full((), timestep, dtype=torch.float32, device=x.device))
        if prediction.shape != x.shape:
            raise CourseError(
                f"denoise returned shape {tuple(prediction.shape)} for a sample of shape {tuple(x.shape)}; "
                "it must return the prediction in the shape of the sample"
            )
        x0 = to_x0(prediction.to(x.dtype), x, 1.0, σ, self.prediction_type)
        return SamplerState(step, timestep, σ, sample, x0.to(self.dtype)), x0

    def clean(self, x: Tensor, step: int) -> SamplerState:
        """The last state, where there is no noise and nothing to ask."""
        sample = x.to(self.dtype)
        return SamplerState(step, 0.0, 0.0, sample, sample)


def working_copy(latents: Tensor) -> Tensor:
    """The latents in float32 at least, in which samplers work."""
    return latents.to(torch.promote_types(latents.dtype, torch.float32))


class Step(NamedTuple):
    """From one noise level to the next; `number` counts those of the whole path from 0."""

    number: int
    timestep: float
    sigma: float
    sigma_next: float


def begin(
    latents: Tensor,
    timesteps: Tensor,
    sigmas: Sequence[float],
    original: Tensor | None,
    first_step: int,
    init_noise_sigma: float,
) -> tuple[Tensor, list[Step]]:
    """The first state, on the sigma scale and in float32 at least, and the steps to take from there.

    Args:
        latents: noise ε.
        timesteps, sigmas: N and N+1 points of the whole path.
        original, first_step: see `kolors_course.diffusion.samplers`.
        init_noise_sigma: the first state is ε times this where there is no `original`.

    Raises:
        CourseError: there is no such step, or no picture to skip steps with.
    """
    steps = [
        Step(number, timestep, *pair)
        for number, (timestep, pair) in enumerate(zip(timesteps.tolist(), pairwise(sigmas), strict=True))
    ]
    if not 0 <= first_step < len(steps):
        raise CourseError(f"first_step {first_step} of {len(steps)} steps: give 0 to {len(steps) - 1}")
    noise = working_copy(latents)
    if original is not None:
        return working_copy(original) + steps[first_step].sigma * noise, steps[first_step:]
    if first_step:
        raise CourseError("first_step leaves out the noisiest steps, so it needs a picture as original")
    return noise * init_noise_sigma, steps
