"""Four ways to say the same thing: what a model may predict about a noisy sample x = αx₀ + σε.

| `prediction_type` | predicted | source |
|---|---|---|
| "epsilon" | the noise ε | arXiv 2006.11239, eq. 14; Kolors and SDXL |
| "sample" | the clean sample x₀ | arXiv 2006.11239, section 3.2 |
| "v_prediction" | v = (αε - σx₀)/√(α²+σ²) | arXiv 2202.00512, appendix D |
| "flow_prediction" | the velocity ε - x₀ of the straight path | arXiv 2209.03003, eq. 1 with time reversed |

Each follows from each, given x, α and σ. α and σ may be of any scale: variance-preserving (α²+σ² = 1), sigma scale
(α = 1) or the straight path of flow matching (α = 1-t, σ = t). The names are those of diffusers' schedulers.
"""

import torch
from torch import Tensor

from kolors_course.errors import CourseError

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction", "flow_prediction")
Level = float | Tensor


def to_x0(prediction: Tensor, sample: Tensor, alpha: Level, sigma: Level, prediction_type: str) -> Tensor:
    """The clean sample that a prediction implies.

    Args:
        prediction: what the model says, shape (B, ...).
        sample: x = αx₀ + σε, same shape.
        alpha, sigma: numbers, or tensors that broadcast against the sample. Noise says nothing about x₀ where
            α = 0: predict v, the velocity or x₀ there.
        prediction_type: one of `PREDICTION_TYPES`.

    Raises:
        CourseError: the prediction type is unknown.
    """
    if prediction_type == "epsilon":
        return (sample - sigma * prediction) / alpha
    if prediction_type == "sample":
        return prediction
    if prediction_type == "v_prediction":
        size = (alpha**2 + sigma**2) ** 0.5
        return alpha / size**2 * sample - sigma / size * prediction
    if prediction_type == "flow_prediction":
        return (sample - sigma * prediction) / (alpha + sigma)
    raise _unknown(prediction_type)


def training_target(x0: Tensor, noise: Tensor, alpha: Level, sigma: Level, prediction_type: str) -> Tensor:
    """What a perfect model of this type would say, given the clean sample and the noise; arguments as for `to_x0`."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "sample":
        return x0
    if prediction_type == "v_prediction":
        return (alpha * noise - sigma * x0) / (alpha**2 + sigma**2) ** 0.5
    if prediction_type == "flow_prediction":
        return noise - x0
    raise _unknown(prediction_type)


def convert_prediction(
    prediction: Tensor, sample: Tensor, alpha: Level, sigma: Level, source: str, target: str
) -> Tensor:
    """Say a prediction of type `source` as one of type `target`; arguments as for `to_x0`.

    Where σ = 0 there is no noise to name: a target other than "sample" is then not a number.
    """
    x0 = to_x0(prediction, sample, alpha, sigma, source)
    noise = prediction if source == "epsilon" else (sample - alpha * x0) / sigma
    return training_target(x0, noise, alpha, sigma, target)


def score(epsilon: Tensor, sigma: Level) -> Tensor:
    """∇ log p(x), the direction in which data get denser: -ε/σ (arXiv 2105.05233, section 4.2)."""
    return -epsilon / sigma


def broadcast(level: Tensor, sample: Tensor) -> Tensor:
    """(B,) or a tensor without dimensions -> (B, 1, …, 1), to multiply with `sample`; in its type and device."""
    level = torch.as_tensor(level).to(sample.device, torch.promote_types(sample.dtype, torch.float32))
    return level.reshape(-1, *[1] * (sample.ndim - 1))


def _unknown(prediction_type: str) -> CourseError:
    return CourseError(
        f'unknown prediction type "{prediction_type}"; choose one of {", ".join(PREDICTION_TYPES)}'
    )
