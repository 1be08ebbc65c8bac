"""Training a ControlNet (arXiv 2302.05543): what learns and what it is told; the U-Net stays as it is.

Nothing is learned wrong at the start, although the zero convolutions answer nothing: for y = wx + b with w = 0 the
gradient ∂y/∂w = x is not 0, so after one step w is not either (section 3.1 of the paper).
"""

from dataclasses import dataclass
from typing import Any

from diffusers import ControlNetModel
from torch import Tensor, nn

from kolors_course.kolors.control import residuals_of
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.unet import conditioning_of, unet_noise
from kolors_course.training.losses import LossSettings, weighted_loss
from kolors_course.training.objective import Batch


@dataclass(frozen=True)
class ControlledModel:
    """A model and the ControlNet beside it."""

    base: KolorsModel
    net: ControlNetModel


class ControlLearner:
    """The learner: every weight of a ControlNet but the projection of the text, which is the U-Net's own."""

    def __init__(self, model: KolorsModel, net: ControlNetModel):
        self.model = ControlledModel(model, net.requires_grad_(True))
        net.encoder_hid_proj.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        """The ControlNet."""
        return self.model.net

    def groups(self) -> list[dict[str, Any]]:
        """One group: the weights that learn."""
        return [{"params": [weight for weight in self.module.parameters() if weight.requires_grad]}]

    def state(self) -> dict[str, Any]:
        """All weights of the ControlNet by name."""
        return {"net": self.module.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over the weights that `state` returned."""
        self.module.load_state_dict(state["net"])


@dataclass(frozen=True)
class ControlledDenoising:
    """The objective: predict the noise, with the hint seen."""

    settings: LossSettings

    def __call__(
        self, model: ControlledModel, batch: Batch, noise: Tensor, timesteps: Tensor, hints: Tensor
    ) -> dict[str, Tensor]:
        """The loss of one pass over `batch`.

        Args:
            noise, timesteps: as for `denoising_loss`.
            hints: (B, 3, H, W) in 0 … 1.
        """
        base, conditioning = model.base, conditioning_of(batch.prompts, batch.add_time_ids)
        noisy = base.schedule.add_noise(batch.latents, noise, timesteps)
        residuals = residuals_of(model.net, hints, noisy, timesteps, conditioning)
        predicted = unet_noise(base, noisy, timesteps, conditioning, residuals=residuals)
        loss = weighted_loss(
            predicted.float(), noise.float(), timesteps, base.schedule, self.settings, batch.masks
        )
        return {"loss": loss}
