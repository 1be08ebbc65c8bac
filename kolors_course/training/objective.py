"""The training objective shared by base model and LoRA: predict the noise (arXiv 2006.11239, eq. 14)."""

import torch
from torch import Tensor

from kolors_course.kolors.generate import conditioning_of, unet_noise
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds


def stratified_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """(count,) uniform timesteps, one from each of `count` equal slices of 0..total-1, in random order.

    Each timestep alone is uniform, as in DDPM; together they cover the range evenly, which lowers the variance
    of the gradient (the idea of arXiv 2107.00630, section I.1). The camp's trainer drew one timestep for the
    whole batch.
    """
    slices = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (slices * total / count).long().clamp(max=total - 1)


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
        latents: (B, 4, h, w), scaled by the VAE's factor.
        add_time_ids: (B, 6).
        generator: draws noise and timesteps on the CPU, so that devices do not change them.
        min_snr_gamma: weight samples by min(SNR, γ)/SNR (arXiv 2303.09556); None is the plain mean.
    """
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    timesteps = stratified_timesteps(len(latents), model.schedule.num_train_timesteps, generator).to(
        latents.device
    )
    noisy = model.schedule.add_noise(latents, noise, timesteps)
    predicted = unet_noise(model, noisy, timesteps, conditioning_of(prompts, add_time_ids))
    per_sample = (predicted.float() - noise.float()).square().mean((1, 2, 3))
    if min_snr_gamma is not None:
        per_sample = per_sample * model.schedule.min_snr_weight(timesteps, min_snr_gamma)
    return per_sample.mean()
