"""How much noise there is at each timestep, and at which timesteps a sampler looks.

Notation: x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε (DDPM, arXiv 2006.11239, eq. 4). That is the *variance-preserving*
(VP) scale in which the U-Net sees its input. Dividing it by √ᾱ_t gives the *sigma* scale x₀ + σ_t·ε,
with σ_t = √((1-ᾱ_t)/ᾱ_t), in which samplers are easiest to write (arXiv 2206.00364).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kolors_course.errors import CourseError

SPACINGS = ("leading", "trailing", "linspace")

# Settings of a scheduler_config.json that change what the noise means; only these values are understood.
_SUPPORTED = {
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "trained_betas": None,
    "interpolation_type": "linear",
}
_KARRAS_RHO = 7.0


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The forward process of a diffusion model in discrete time.

    Attributes:
        alphas_cumprod: ᾱ_t, shape (T,), floating point, on the CPU, strictly between 0 and 1 and falling with
            t: the share of the variance at timestep t that is still signal.

    Raises:
        CourseError: `alphas_cumprod` is not such a tensor.
    """

    alphas_cumprod: Tensor

    def __post_init__(self) -> None:
        ᾱ = self.alphas_cumprod
        if ᾱ.ndim != 1 or len(ᾱ) < 2 or not ᾱ.is_floating_point():
            raise CourseError(
                f"alphas_cumprod has shape {tuple(ᾱ.shape)} and type {ᾱ.dtype}; "
                "give a one-dimensional floating-point tensor of at least 2 values"
            )
        if not (ᾱ[0] < 1 and ᾱ[-1] > 0 and (ᾱ.diff() < 0).all()):
            raise CourseError(
                "alphas_cumprod must fall at every timestep and stay strictly between 0 and 1; "
                "check that it is the cumulative product of 1 - beta"
            )

    @classmethod
    def kolors(cls) -> NoiseSchedule:
        """Kolors' schedule: SDXL's shape with a longer tail (scaled_linear 0.00085 → 0.014, T = 1100)."""
        return cls(_alphas_cumprod(0.00085, 0.014, 1100, "scaled_linear"))

    @classmethod
    def sdxl(cls) -> NoiseSchedule:
        """The schedule of SDXL and Stable Diffusion (scaled_linear 0.00085 → 0.012, T = 1000)."""
        return cls(_alphas_cumprod(0.00085, 0.012, 1000, "scaled_linear"))

    @classmethod
    def from_scheduler_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """The schedule described by a diffusers `scheduler_config.json`, read into a mapping.

        Args:
            config: must have `beta_start`, `beta_end`, `beta_schedule` ("scaled_linear" or "linear") and
                `num_train_timesteps`. Keys about sampling (spacing, offsets) are not part of a schedule.

        Raises:
            CourseError: a key is missing or out of range, or asks for something this library does not do
                (such as `prediction_type` "v_prediction").
        """
        keys = ("beta_start", "beta_end", "num_train_timesteps", "beta_schedule")
        if missing := [key for key in keys if key not in config]:
            raise CourseError(f"scheduler config lacks {', '.join(missing)}; copy them from the model's own")
        for key, value in _SUPPORTED.items():
            if config.get(key, value) != value:
                raise CourseError(
                    f"scheduler config has {key} = {config[key]!r}, but only {value!r} is supported; "
                    "use a model trained that way, such as Kolors or SDXL"
                )
        return cls(_alphas_cumprod(*(config[key] for key in keys)))

    @property
    def num_train_timesteps(self) -> int:
        """T: timesteps run from 0 (almost clean) to T - 1 (almost noise)."""
        return len(self.alphas_cumprod)

    @property
    def sigmas(self) -> Tensor:
        """σ_t = √((1-ᾱ_t)/ᾱ_t) at every training timestep, shape (T,), rising with t."""
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod) ** 0.5

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio ᾱ_t/(1-ᾱ_t) = 1/σ_t² at every training timestep, shape (T,)."""
        return self.alphas_cumprod / (1 - self.alphas_cumprod)

    def add_noise(self, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Jump from clean to noisy in one step: √ᾱ_t·x₀ + √(1-ᾱ_t)·ε (arXiv 2006.11239, eq. 4).

        Args:
            x0: clean samples, shape (B, ...).
            noise: standard normal noise ε, the shape of `x0`.
            timesteps: whole numbers in 0 … T-1, shape (B,): one for each sample.

        Returns:
            The noisy samples x_t, in the shape and type of `x0`.

        Raises:
            CourseError: the timesteps have the wrong shape, type or range.
        """
        α, σ = self._signal_and_noise(timesteps, x0)
        return (α * x0 + σ * noise).to(x0.dtype)

    def epsilon_to_x0(self, sample: Tensor, epsilon: Tensor, timesteps: Tensor) -> Tensor:
        """The clean sample that some noise implies: (x_t - √(1-ᾱ_t)·ε)/√ᾱ_t. Shapes as in `add_noise`."""
        α, σ = self._signal_and_noise(timesteps, sample)
        return ((sample - σ * epsilon) / α).to(sample.dtype)

    def x0_to_epsilon(self, sample: Tensor, x0: Tensor, timesteps: Tensor) -> Tensor:
        """The noise that a clean sample implies: (x_t - √ᾱ_t·x₀)/√(1-ᾱ_t). Shapes as in `add_noise`."""
        α, σ = self._signal_and_noise(timesteps, sample)
        return ((sample - α * x0) / σ).to(sample.dtype)

    def min_snr_weight(self, timesteps: Tensor, gamma: float = 5.0) -> Tensor:
        """Loss weight min(SNR_t, γ)/SNR_t for noise prediction (Min-SNR-γ, arXiv 2303.09556).

        Almost-clean timesteps have a huge SNR and little to teach; the weight holds them back.

        Args:
            timesteps: whole numbers in 0 … T-1, shape (B,).
            gamma: the SNR above which the weight falls below 1; the paper recommends 5.

        Returns:
            Weights in (0, 1], shape (B,).

        Raises:
            CourseError: `gamma` is not positive, or the timesteps have the wrong shape, type or range.
        """
        if not gamma > 0:
            raise CourseError(f"min-SNR gamma is {gamma}; give a positive number, such as 5")
        snr = self._look_up(self.snr, timesteps)
        return snr.clamp(max=gamma) / snr

    def timesteps(self, num_inference_steps: int, spacing: str = "leading", steps_offset: int = 1) -> Tensor:
        """Where a one-step solver looks, most noisy first (arXiv 2305.08891, Table 2).

        Equal to `diffusers.EulerDiscreteScheduler.timesteps`. "leading" with offset 1 is what Kolors and
        SDXL ship: it never visits the last timesteps. "trailing" starts at T-1, "linspace" covers both
        ends and may fall between whole timesteps.

        Args:
            num_inference_steps: how many, N.
            spacing: "leading", "trailing" or "linspace".
            steps_offset: added to every "leading" timestep.

        Returns:
            float32, shape (N,), falling.

        Raises:
            CourseError: the spacing is unknown or N timesteps do not fit on the schedule.
        """
        return _float32(self._place(num_inference_steps, spacing, steps_offset))

    def multistep_timesteps(
        self, num_inference_steps: int, spacing: str = "leading", steps_offset: int = 1
    ) -> Tensor:
        """Where diffusers' multistep solvers (such as DPM-Solver) look; arguments as for `timesteps`.

        They count the clean end as a point: N+1 points are placed, rounded, and the last left out. The same
        settings can so start elsewhere: 50 "leading" steps on Kolors' schedule at 1051 instead of 1079.
        """
        _check_steps(num_inference_steps)
        if spacing == "trailing":
            return self.timesteps(num_inference_steps, spacing)
        return _float32(self._place(num_inference_steps + 1, spacing, steps_offset)[:-1].round())

    def karras_timesteps(self, num_inference_steps: int) -> tuple[Tensor, Tensor]:
        """Noise levels evenly spaced in σ^(1/7) over the whole schedule (arXiv 2206.00364, eq. 5).

        Equal to `diffusers.DPMSolverMultistepScheduler` with `use_karras_sigmas=True`.

        Returns:
            The nearest whole timesteps, float32, shape (N,), falling, and the sigmas with a final 0,
            float32, shape (N+1,).

        Raises:
            CourseError: `num_inference_steps` is not a whole number of at least 1.
        """
        _check_steps(num_inference_steps)
        sigmas = self.sigmas.numpy()
        largest, smallest = float(sigmas[-1]) ** (1 / _KARRAS_RHO), float(sigmas[0]) ** (1 / _KARRAS_RHO)
        ramp = np.linspace(0, 1, num_inference_steps)
        levels = (largest + ramp * (smallest - largest)) ** _KARRAS_RHO
        points = np.interp(np.log(levels), np.log(sigmas), np.arange(len(sigmas))).round()
        return _float32(points), _float32(np.append(levels, 0))

    def sigmas_at(self, timesteps: Tensor) -> Tensor:
        """σ at N timesteps (interpolated between whole ones) and a final 0 for the clean sample, (N+1,)."""
        sigmas = self.sigmas.numpy()
        return _float32(np.append(np.interp(timesteps.numpy(), np.arange(len(sigmas)), sigmas), 0))

    def _place(self, num_inference_steps: int, spacing: str, steps_offset: int) -> np.ndarray:
        T, N = self.num_train_timesteps, num_inference_steps
        _check_steps(N)
        if spacing == "leading":
            points = np.arange(N)[::-1] * (T // N) + steps_offset
        elif spacing == "trailing":
            # np.arange now and then makes one value too many, because its step is rounded.
            points = np.arange(T, 0, -T / N)[:N].round() - 1
        elif spacing == "linspace":
            points = np.linspace(0, T - 1, N)[::-1]
        else:
            raise CourseError(f'unknown timestep spacing "{spacing}"; choose one of {", ".join(SPACINGS)}')
        if N > T or points[0] >= T or points[-1] < 0:
            raise CourseError(
                f"{N} timesteps do not fit on a schedule of {T} with {spacing} spacing and "
                f"steps_offset {steps_offset}; lower num_inference_steps or the offset"
            )
        return points

    def _look_up(self, values: Tensor, timesteps: Tensor) -> Tensor:
        if timesteps.ndim != 1 or timesteps.dtype not in (torch.int32, torch.int64):
            raise CourseError(
                f"timesteps have shape {tuple(timesteps.shape)} and type {timesteps.dtype}; "
                "give one whole number for each sample, shape (batch,)"
            )
        if len(timesteps) and not 0 <= timesteps.min() <= timesteps.max() < len(values):
            raise CourseError(
                f"timesteps run from {timesteps.min()} to {timesteps.max()}, but this schedule has "
                f"0 to {len(values) - 1}; draw them from the schedule that the model was trained with"
            )
        return values.to(timesteps.device)[timesteps]

    def _signal_and_noise(self, timesteps: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1-ᾱ_t), shape (B, 1, …, 1), at least float32: half precision would lose 1-ᾱ_t."""
        if len(sample) != timesteps.numel():
            raise CourseError(f"{timesteps.numel()} timesteps for {len(sample)} samples; give one for each")
        ᾱ = self._look_up(self.alphas_cumprod, timesteps).view(-1, *[1] * (sample.ndim - 1))
        ᾱ = ᾱ.to(torch.promote_types(sample.dtype, torch.float32))
        return ᾱ.sqrt(), (1 - ᾱ).sqrt()


def init_noise_sigma(max_sigma: float, spacing: str) -> float:
    """Factor that turns unit noise into the first state of a sigma-scale sampler.

    "trailing" and "linspace" start from pure noise, σ_max·ε. "leading" starts below the top of the schedule
    and pretends that unit noise is already a noisy sample: √(σ_max²+1)·ε, which the U-Net sees as plain ε.
    Equal to `diffusers.EulerDiscreteScheduler.init_noise_sigma`.
    """
    return (max_sigma**2 + 1) ** 0.5 if spacing == "leading" else max_sigma


def _alphas_cumprod(
    beta_start: float, beta_end: float, num_train_timesteps: int, beta_schedule: str
) -> Tensor:
    """ᾱ as diffusers computes it, to the last bit: in float32, so that no σ differs from the reference."""
    numbers = all(isinstance(beta, (int, float)) for beta in (beta_start, beta_end))
    if not (numbers and 0 < beta_start <= beta_end < 1):
        raise CourseError(f"beta_start {beta_start!r}, beta_end {beta_end!r}: give 0 < start <= end < 1")
    if not isinstance(num_train_timesteps, Integral) or num_train_timesteps < 2:
        raise CourseError(f"num_train_timesteps is {num_train_timesteps!r}; give a whole number above 1")
    if beta_schedule == "scaled_linear":
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=torch.float32) ** 2
    elif beta_schedule == "linear":
        betas = torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float32)
    else:
        raise CourseError(f'unknown beta_schedule "{beta_schedule}"; choose scaled_linear or linear')
    return (1 - betas).cumprod(dim=0)


def _check_steps(num_inference_steps: int) -> None:
    if not isinstance(num_inference_steps, Integral) or num_inference_steps < 1:
        raise CourseError(f"num_inference_steps is {num_inference_steps!r}; give a whole number above 0")


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
