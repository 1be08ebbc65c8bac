"""How far off a predicted noise is, and how much each timestep counts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.training.choices import LOSSES


@dataclass(frozen=True)
class LossSettings:
    """What is minimised; the default is the plain squared error of DDPM.

    Attributes:
        kind: "mse", or "huber" for the pseudo-Huber loss, which a few odd pictures pull at less.
        huber_c: where the pseudo-Huber loss turns from a parabola into a straight line.
        min_snr_gamma: weight samples by min(SNR, γ)/SNR (arXiv 2303.09556); None is no such weight.
        debiased: weight samples by 1/√SNR (arXiv 2310.08442) instead.
        noise_offset: shift the noise of each channel by this much times one standard normal number, so that
            the model also learns to change the overall brightness.

    Raises:
        CourseError: a number is out of range, or two weights are asked for.
    """

    kind: str = "mse"
    huber_c: float = 0.1
    min_snr_gamma: float | None = None
    debiased: bool = False
    noise_offset: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in LOSSES:
            raise CourseError(f"loss '{self.kind}' is not one of {', '.join(LOSSES)}")
        if not 0 < self.huber_c < float("inf"):
            raise CourseError(f"huber_c must be a finite number above 0, not {self.huber_c}")
        if self.min_snr_gamma is not None and not 0 < self.min_snr_gamma < float("inf"):
            raise CourseError(f"min_snr_gamma must be a finite number above 0, not {self.min_snr_gamma}")
        if not 0 <= self.noise_offset <= 1:
            raise CourseError(f"noise_offset must lie between 0 and 1, not {self.noise_offset}")
        if self.debiased and self.min_snr_gamma is not None:
            raise CourseError("min_snr_gamma and debiased both weight the timesteps; choose one of them")


def pseudo_huber(predicted: Tensor, target: Tensor, c: float) -> Tensor:
    """2c·(√(d² + c²) − c) of each difference d: about d² for small ones and 2c·|d| for large ones.

    The pseudo-Huber loss for diffusion models of arXiv 2403.16728, scaled as in diffusers' training scripts.
    """
    return 2 * c * (((predicted - target).square() + c**2).sqrt() - c)


def debiased_weight(schedule: NoiseSchedule, timesteps: Tensor) -> Tensor:
    """1/√SNR_t = σ_t for noise prediction (arXiv 2310.08442), shape (B,): noisy timesteps count for more."""
    return schedule.sigmas.to(timesteps.device)[timesteps]


def elementwise_error(predicted: Tensor, target: Tensor, settings: LossSettings) -> Tensor:
    """The error of each number, in the shape of `predicted`."""
    if settings.kind == "huber":
        return pseudo_huber(predicted, target, settings.huber_c)
    return (predicted - target).square()


def masked_mean(error: Tensor, masks: Tensor | None) -> Tensor:
    """The mean error (B,) of each sample, over what its mask lets through.

    Args:
        error: (B, C, h, w).
        masks: (B, 1, h, w) weights from 0 to 1, not all zero in any sample; None counts everything.
    """
    if masks is None:
        return error.mean((1, 2, 3))
    return (error * masks).mean((1, 2, 3)) / masks.mean((1, 2, 3))


def timestep_weight(schedule: NoiseSchedule, timesteps: Tensor, settings: LossSettings) -> Tensor | None:
    """How much each sample counts, shape (B,); None when all count the same."""
    if settings.min_snr_gamma is not None:
        return schedule.min_snr_weight(timesteps, settings.min_snr_gamma)
    return debiased_weight(schedule, timesteps) if settings.debiased else None


def weighted_loss(
    predicted: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    schedule: NoiseSchedule,
    settings: LossSettings,
    masks: Tensor | None = None,
) -> Tensor:
    """The loss of a batch, a number: errors averaged within samples, weighted by timestep, averaged again."""
    per_sample = masked_mean(elementwise_error(predicted, noise, settings), masks)
    weight = timestep_weight(schedule, timesteps, settings)
    return torch.mean(per_sample if weight is None else per_sample * weight)
