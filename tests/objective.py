"""The training objective in one call, for tests."""

import torch
from torch import Tensor

from kolors_course.kolors import KolorsModel, PromptEmbeds
from kolors_course.training.losses import LossSettings
from kolors_course.training.objective import Batch, denoising_loss, draw_noise


def epsilon_loss(
    model: KolorsModel,
    latents: Tensor,
    prompts: PromptEmbeds,
    add_time_ids: Tensor,
    generator: torch.Generator,
    min_snr_gamma: float | None = None,
) -> Tensor:
    """The loss of a batch at random timesteps, with noise from `generator`."""
    noise, timesteps = draw_noise(latents, model.schedule.num_train_timesteps, generator)
    settings = LossSettings(min_snr_gamma=min_snr_gamma)
    return denoising_loss(model, Batch(latents, prompts, add_time_ids), noise, timesteps, settings)
