"""What goes in and out of every sampler: the model as it is given, and the states on the way."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

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
