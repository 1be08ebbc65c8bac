"""The objective of a LoRA in tensors alone, which a GPU can record: what `full_width_gpu.py --compare` tries out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kolors_course.diffusion import NoiseSchedule
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.unet import conditioning_of, unet_noise
from kolors_course.training.learning import Material
from kolors_course.training.losses import LossSettings, elementwise_error, masked_mean, timestep_weight


@dataclass(frozen=True)
class NoisyTensors:
    """The material of `Denoising` as tensors by name, already noisy and weighted, for `DenoisingTensors`.

    The schedule looks at the timesteps that it is given: that cannot be recorded, so it is done here.
    """

    material: Material
    schedule: NoiseSchedule
    settings: LossSettings

    def __call__(self, step: int) -> dict[str, Tensor]:
        """What `DenoisingTensors` takes."""
        drawn = self.material(step)
        batch, noise, timesteps = drawn["batch"], drawn["noise"], drawn["timesteps"]
        weight = timestep_weight(self.schedule, timesteps, self.settings)
        masks = {} if batch.masks is None else {"masks": batch.masks}
        return {
            "noisy": self.schedule.add_noise(batch.latents, noise, timesteps),
            "noise": noise,
            "timesteps": timesteps,
            "weight": torch.ones(len(noise), device=noise.device) if weight is None else weight,
            **conditioning_of(batch.prompts, batch.add_time_ids),
            **masks,
        }


@dataclass(frozen=True)
class DenoisingTensors:
    """The objective `Denoising` on the material of `NoisyTensors`: the same numbers, and it can be recorded."""

    settings: LossSettings

    def __call__(
        self,
        model: KolorsModel,
        noisy: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        weight: Tensor,
        masks: Tensor | None = None,
        **conditioning: Tensor,
    ) -> dict[str, Tensor]:
        predicted = unet_noise(model, noisy, timesteps, conditioning)
        error = masked_mean(elementwise_error(predicted.float(), noise.float(), self.settings), masks)
        return {"loss": torch.mean(weight * error)}
