"""What every sampler shares: the call to the model, and the states it yields."""

from collections.abc import Callable
from dataclasses import dataclass

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
        prediction = self.denoise(sample, torch.tensor(timestep, dtype=torch.float32, device=x.device))
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
