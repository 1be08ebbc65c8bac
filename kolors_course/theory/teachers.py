"""Denoisers that are right: for a finite data set or a mixture of Gaussians the best prediction is a formula.

For x = αx₀ + σε the best guess of x₀ is the posterior mean E[x₀|x]; every trained denoiser only approximates it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from kolors_course.diffusion import Denoise, NoiseSchedule, convert_prediction
from kolors_course.diffusion.predictions import Level
from kolors_course.errors import CourseError
from kolors_course.theory import toys


@dataclass(init=False, eq=False)
class Mixture:
    """Data that are a mixture of Gaussians with axes along the coordinates.

    Attributes:
        means: (K, D).
        std: standard deviations, (K, D).
        weights: the share of each mode, (K,).

    Args:
        std: a number, or a tensor that broadcasts to (K, D). 0 makes the data points themselves.
        weights: in any proportion, or None for equal shares.

    Raises:
        CourseError: shapes do not fit or a number is out of range.
    """

    means: Tensor
    std: Tensor
    weights: Tensor

    def __init__(self, means: Tensor, std: Level = 0.0, weights: Tensor | None = None) -> None:
        if means.ndim != 2 or not means.numel():
            raise CourseError(f"means have shape {tuple(means.shape)}; give (modes, dimensions)")
        std = torch.as_tensor(std).to(means)
        weights = torch.ones(len(means)) if weights is None else weights
        if (std < 0).any() or weights.shape != means.shape[:1] or not (weights > 0).all():
            raise CourseError(
                "a mixture needs standard deviations of at least 0 and one positive weight a mode"
            )
        self.means, self.std = means, std.expand_as(means)
        self.weights = (weights / weights.sum()).to(means)

    def given(self, mode: int) -> Mixture:
        """The data of one mode alone: what a class condition asks for."""
        return Mixture(self.means[mode : mode + 1], self.std[mode : mode + 1])

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points (count, D) and the mode of each (count,)."""
        mode = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[mode] + self.std[mode] * noise, mode

    def log_density(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        """log p(x) of the noisy data x = αx₀ + σε, (B,).

        Args:
            x: (B, D).
            alpha, sigma: numbers, or tensors of one value or B values.
        """
        return self._log_joint(x, alpha, sigma).logsumexp(dim=1)

    def log_mode(self, x: Tensor, alpha: Level = 1.0, sigma: Level = 0.0) -> Tensor:
        """log p(mode|x), (B, K): the perfect classifier of noisy data. Arguments as for `log_density`."""
        return self._log_joint(x, alpha, sigma).log_softmax(dim=1)

    def posterior_mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """E[x₀|x], (B, D): of each mode's own best guess, the mean, weighted by how likely the mode is.

        For std 0 this is a weighted mean of the data points (arXiv 2206.00364, appendix B.3).
        """
        α, σ = _level(alpha, x), _level(sigma, x)
        gain = α * self.std**2 / (α**2 * self.std**2 + σ**2)
        guesses = self.means + gain * (x[:, None] - α * self.means)  # (B, K, D)
        return (self.log_mode(x, alpha, sigma).exp()[..., None] * guesses).sum(dim=1)

    def denoiser(self, schedule: NoiseSchedule, prediction_type: str = "epsilon") -> Denoise:
        """The perfect `denoise` of a sampler for these data.

        It takes samples (B, ...) of D values each, and timesteps (between whole ones too) without dimensions or (B,).
        """

        def denoise(sample: Tensor, timestep: Tensor) -> Tensor:
            x = sample.flatten(1).to(self.means)
            σ = schedule.sigma(torch.as_tensor(timestep)).to(x).reshape(-1, 1)
            α = 1 / (σ**2 + 1).sqrt()
            x0 = self.posterior_mean(x, α, α * σ)
            return (
                convert_prediction(x0, x, α, α * σ, "sample", prediction_type)
                .reshape(sample.shape)
                .to(sample)
            )

        return denoise

    def velocity(self) -> Denoise:
        """The perfect velocity E[ε - x₀|x_t] of flow matching, for x_t = (1-t)·x₀ + t·ε and t in 0 … 1.

        At t = 0 it is told apart from noise by `std` alone, so std must be positive there.
        """

        def velocity(sample: Tensor, t: Tensor) -> Tensor:
            x = sample.flatten(1).to(self.means)
            α, σ = 1 - _level(t, x), _level(t, x)
            # E[ε|x] by the same reasoning as E[x₀|x]; (x - αx₀)/σ would divide by 0 at t = 0.
            gain = σ / (α**2 * self.std**2 + σ**2)
            noises = gain * (x[:, None] - α * self.means)
            noise = (self.log_mode(x, α, σ).exp()[..., None] * noises).sum(dim=1)
            return (noise - self.posterior_mean(x, α, σ)).reshape(sample.shape).to(sample)

        return velocity

    def _log_joint(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """log w_k + log N(x; αμ_k, α²s_k² + σ²), (B, K)."""
        α, σ = _level(alpha, x), _level(sigma, x)
        variance = α**2 * self.std**2 + σ**2
        squares = (x[:, None] - α * self.means) ** 2 / variance
        return self.weights.log() - (squares + variance.log() + log(2 * pi)).sum(dim=2) / 2


def eight_gaussians() -> Mixture:
    """The distribution that `toys.eight_gaussians` draws from."""
    return Mixture(toys.eight_centres(), toys.BLOB_STD)


def ideal_denoiser(data: Tensor, schedule: NoiseSchedule, prediction_type: str = "epsilon") -> Denoise:
    """The perfect denoiser of a finite data set: it knows the pictures by heart, and can draw no others.

    Args:
        data: (N, ...): points, latents or pictures.
        schedule: what a timestep means.
        prediction_type: what to predict.
    """
    return Mixture(data.flatten(1)).denoiser(schedule, prediction_type)


def gaussian_denoiser(
    schedule: NoiseSchedule, mean: Tensor, std: Level = 1.0, prediction_type: str = "epsilon"
) -> Denoise:
    """The perfect denoiser of data N(mean, std²), `mean` of shape (D,): linear in the sample.

    `gaussian_path` is the exact solution of its ODE, against which solvers can be measured.
    """
    return Mixture(mean[None], std).denoiser(schedule, prediction_type)


def gaussian_path(x: Tensor, mean: Tensor, std: Level, sigma: float, sigma_next: float) -> Tensor:
    """Where the probability-flow ODE of data N(mean, std²) leads from noise level σ to another.

    dx/dσ = σ·(x-μ)/(s²+σ²) has the solution x-μ ∝ √(s²+σ²): the cloud shrinks around its mean.

    Args:
        x: (B, D), in the sigma scale x = x₀ + σε.
    """
    ratio = (std**2 + sigma_next**2) / (std**2 + sigma**2)
    return mean + (x - mean) * ratio**0.5


def _level(level: Level, x: Tensor) -> Tensor:
    """One value or B values -> (1, 1, 1) or (B, 1, 1), in the type of x."""
    return torch.as_tensor(level).to(x).reshape(-1, 1, 1)
