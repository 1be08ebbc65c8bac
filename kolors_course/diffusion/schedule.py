"""How much noise there is at each timestep, and at which timesteps a sampler looks.

Notation: x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε (DDPM, arXiv 2006.11239, eq. 4). That is the *variance-preserving*
(VP) scale in which the U-Net sees its input. Dividing it by √ᾱ_t gives the *sigma* scale x₀ + σ_t·ε,
with σ_t = √((1-ᾱ_t)/ᾱ_t), in which samplers are easiest to write (arXiv 2206.00364).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kolors_course.diffusion import betas as noise_shapes
from kolors_course.diffusion import grids
from kolors_course.diffusion.predictions import broadcast, convert_prediction, training_target
from kolors_course.errors import CourseError

# Settings of a scheduler_config.json that change what the noise means; only these values are understood.
_SUPPORTED = {
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "trained_betas": None,
    "interpolation_type": "linear",
}


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
        return cls(noise_shapes.alphas_cumprod(0.00085, 0.014, 1100))

    @classmethod
    def sdxl(cls) -> NoiseSchedule:
        """The schedule of SDXL and Stable Diffusion (scaled_linear 0.00085 → 0.012, T = 1000)."""
        return cls(noise_shapes.alphas_cumprod(0.00085, 0.012, 1000))

    @classmethod
    def linear(
        cls, beta_start: float = 1e-4, beta_end: float = 0.02, num_train_timesteps: int = 1000
    ) -> NoiseSchedule:
        """The first schedule of all, that of DDPM: β rises in a straight line (arXiv 2006.11239, section 4)."""
        return cls(noise_shapes.alphas_cumprod(beta_start, beta_end, num_train_timesteps, "linear"))

    @classmethod
    def cosine(cls, num_train_timesteps: int = 1000) -> NoiseSchedule:
        """√ᾱ falls like a cosine: less time on samples that are noise already (arXiv 2102.09672, eq. 17)."""
        return cls(noise_shapes.alphas_cumprod(1e-4, 0.02, num_train_timesteps, "squaredcos_cap_v2"))

    @classmethod
    def from_scheduler_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """The schedule described by a diffusers `scheduler_config.json`, read into a mapping.

        Args:
            config: must have `beta_start`, `beta_end`, `beta_schedule` (one of `BETA_SCHEDULES`) and
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
        return cls(noise_shapes.alphas_cumprod(*(config[key] for key in keys)))

    def zero_terminal_snr(self) -> NoiseSchedule:
        """The same schedule, stretched until its end is pure noise (arXiv 2305.08891, Algorithm 1).

        A model for it must predict v, the velocity or x₀: the noise of pure noise says nothing about the picture.
        """
        return NoiseSchedule(noise_shapes.zero_terminal_snr(self.alphas_cumprod))

    @property
    def num_train_timesteps(self) -> int:
        """T: timesteps run from 0 (almost clean) to T - 1 (almost noise)."""
        return len(self.alphas_cumprod)

    @property
    def betas(self) -> Tensor:
        """β_t = 1 - ᾱ_t/ᾱ_{t-1}: the share of the variance that step t replaces by noise, shape (T,)."""
        ᾱ = self.alphas_cumprod
        return 1 - ᾱ / torch.cat([torch.ones_like(ᾱ[:1]), ᾱ[:-1]])

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

    def target(self, x0: Tensor, noise: Tensor, timesteps: Tensor, prediction_type: str) -> Tensor:
        """What a model of `prediction_type` learns to say about `add_noise(x0, noise, timesteps)`."""
        α, σ = self._signal_and_noise(timesteps, x0)
        return training_target(x0, noise, α, σ, prediction_type).to(x0.dtype)

    def convert(
        self, prediction: Tensor, sample: Tensor, timesteps: Tensor, source: str, target: str
    ) -> Tensor:
        """Say a prediction about x_t in another way; see `kolors_course.diffusion.predictions`.

        Args:
            prediction, sample: what the model says about `sample`, shape (B, ...).
            timesteps: whole numbers, shape (B,).
            source, target: prediction types, such as "epsilon" and "sample".

        Raises:
            CourseError: a type is unknown, or the timesteps have the wrong shape, type or range.
        """
        α, σ = self._signal_and_noise(timesteps, sample)
        return convert_prediction(prediction, sample, α, σ, source, target).to(sample.dtype)

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
        return _float32(grids.place(self.num_train_timesteps, num_inference_steps, spacing, steps_offset))

    def multistep_timesteps(
        self, num_inference_steps: int, spacing: str = "leading", steps_offset: int = 1
    ) -> Tensor:
        """Where diffusers' multistep solvers (such as DPM-Solver) look; arguments as for `timesteps`.

        They count the clean end as a point: N+1 points are placed, rounded, and the last left out. The same
        settings can so start elsewhere: 50 "leading" steps on Kolors' schedule at 1051 instead of 1079.
        """
        grids.check_steps(num_inference_steps)
        if spacing == "trailing":
            return self.timesteps(num_inference_steps, spacing)
        points = grids.place(self.num_train_timesteps, num_inference_steps + 1, spacing, steps_offset)
        return _float32(points[:-1].round())

    def consistency_timesteps(self, num_inference_steps: int, original_inference_steps: int = 50) -> Tensor:
        """Where an LCM looks, equal to `diffusers.LCMScheduler.timesteps`: float32, shape (N,), falling.

        Args:
            num_inference_steps: how many, N.
            original_inference_steps: on how many timesteps the model was distilled.

        Raises:
            CourseError: the numbers do not fit together.
        """
        points = grids.place_consistency(
            self.num_train_timesteps, num_inference_steps, original_inference_steps
        )
        return _float32(points)

    def karras_timesteps(self, num_inference_steps: int) -> tuple[Tensor, Tensor]:
        """Noise levels evenly spaced in σ^(1/7) over the whole schedule (arXiv 2206.00364, eq. 5).

        Equal to `diffusers.DPMSolverMultistepScheduler` with `use_karras_sigmas=True`.

        Returns:
            The nearest whole timesteps, float32, shape (N,), falling, and the sigmas with a final 0,
            float32, shape (N+1,).

        Raises:
            CourseError: `num_inference_steps` is not a whole number of at least 1.
        """
        sigmas = self.sigmas.numpy()
        levels = grids.karras_levels(float(sigmas[-1]), float(sigmas[0]), num_inference_steps)
        points = np.interp(np.log(levels), np.log(sigmas), np.arange(len(sigmas))).round()
        return _float32(points), _float32(np.append(levels, 0))

    def sigmas_at(self, timesteps: Tensor) -> Tensor:
        """σ at N timesteps (interpolated between whole ones) and a final 0 for the clean sample, (N+1,)."""
        return _float32(np.append(self.sigma(timesteps).numpy(), 0))

    def sigma(self, timesteps: Tensor) -> Tensor:
        """σ at any timesteps (interpolated between whole ones), in their shape; float64, on the CPU."""
        sigmas = self.sigmas.double().numpy()
        values = np.interp(timesteps.detach().cpu().double().numpy(), np.arange(len(sigmas)), sigmas)
        return torch.as_tensor(values)

    def timestep_of(self, sigma: float) -> float:
        """The timestep with this σ, between whole ones: the reverse of `sigma`."""
        sigmas = self.sigmas.double().numpy()
        return float(np.interp(sigma, sigmas, np.arange(len(sigmas))))

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
        ᾱ = broadcast(self._look_up(self.alphas_cumprod, timesteps), sample)
        return ᾱ.sqrt(), (1 - ᾱ).sqrt()


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
