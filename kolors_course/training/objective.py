"""The training objective shared by base model and LoRA: predict the noise (arXiv 2006.11239, eq. 14)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds
from kolors_course.kolors.unet import conditioning_of, unet_noise
from kolors_course.training.learning import Objective
from kolors_course.training.losses import LossSettings, weighted_loss


@dataclass(frozen=True)
class Batch:
    """What the U-Net is trained on in one pass.

    Attributes:
        latents: (B, C, h, w), scaled by the VAE's factor.
        prompts: B encoded prompts.
        add_time_ids: (B, 6).
        masks: (B, 1, h, w) how much each latent cell counts; None for all alike.
    """

    latents: Tensor
    prompts: PromptEmbeds
    add_time_ids: Tensor
    masks: Tensor | None = None

    def rows(self, index: slice) -> "Batch":
        """The samples at `index`, as a batch."""
        masks = None if self.masks is None else self.masks[index]
        return Batch(self.latents[index], self.prompts.rows(index), self.add_time_ids[index], masks)


def stratified_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """(count,) uniform timesteps, one from each of `count` equal slices of 0..total-1, in random order.

    Each timestep alone is uniform, as in DDPM; together they cover the range evenly, which lowers the variance
    of the gradient (the idea of arXiv 2107.00630, section I.1). The camp's trainer drew one timestep for the
    whole batch.
    """
    slices = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (slices * total / count).long().clamp(max=total - 1)


def draw_noise(
    latents: Tensor, num_train_timesteps: int, generator: torch.Generator, noise_offset: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Noise like `latents` (B, C, h, w) and a timestep for each sample (B,), drawn on the CPU.

    Devices so do not change them. See `LossSettings` for `noise_offset`.
    """
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    timesteps = stratified_timesteps(len(latents), num_train_timesteps, generator).to(latents.device)
    if noise_offset:
        noise = noise + noise_offset * torch.randn((*latents.shape[:2], 1, 1), generator=generator).to(
            latents
        )
    return noise, timesteps


def denoising_loss(
    model: KolorsModel, batch: Batch, noise: Tensor, timesteps: Tensor, settings: LossSettings
) -> Tensor:
    """The loss of one pass of the U-Net over `batch`, made noisy with `noise` (B, C, h, w) at `timesteps` (B,)."""
    noisy = model.schedule.add_noise(batch.latents, noise, timesteps)
    predicted = unet_noise(model, noisy, timesteps, conditioning_of(batch.prompts, batch.add_time_ids))
    return weighted_loss(predicted.float(), noise.float(), timesteps, model.schedule, settings, batch.masks)


@dataclass(frozen=True)
class Denoising:
    """The objective of LoRAs and of full fine-tuning: `denoising_loss`, as `loss`."""

    settings: LossSettings

    def __call__(
        self, model: KolorsModel, batch: Batch, noise: Tensor, timesteps: Tensor
    ) -> dict[str, Tensor]:
        return {"loss": denoising_loss(model, batch, noise, timesteps, self.settings)}


@dataclass(frozen=True)
class PriorPreservation:
    """An objective, and `weight` times the same one on pictures that the model must not forget (arXiv 2208.12242).

    Of the material, `prior` is that of these pictures.
    """

    objective: Objective
    weight: float

    def __call__(self, model: KolorsModel, prior: dict[str, Any], **own: Any) -> dict[str, Tensor]:
        losses, others = self.objective(model, **own), self.objective(model, **prior)
        return {name: loss + self.weight * others[name] for name, loss in losses.items()}


def epsilon_loss(
    model: KolorsModel,
    latents: Tensor,
    prompts: PromptEmbeds,
    add_time_ids: Tensor,
    generator: torch.Generator,
    min_snr_gamma: float | None = None,
) -> Tensor:
    """Mean squared error of the predicted noise at one random timestep for each sample.

    Args:
        latents: (B, C, h, w), scaled by the VAE's factor.
        add_time_ids: (B, 6).
        generator: draws noise and timesteps on the CPU, so that devices do not change them.
        min_snr_gamma: weight samples by min(SNR, γ)/SNR (arXiv 2303.09556); None is the plain mean.
    """
    noise, timesteps = draw_noise(latents, model.schedule.num_train_timesteps, generator)
    batch = Batch(latents, prompts, add_time_ids)
    return denoising_loss(model, batch, noise, timesteps, LossSettings(min_snr_gamma=min_snr_gamma))
