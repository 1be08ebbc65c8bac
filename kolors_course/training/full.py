"""Full fine-tuning: every weight of the U-Net learns. What a LoRA is measured against."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel
from kolors_course.training.batches import NoisyBatches, PictureStream
from kolors_course.training.cache import EncodedPictures
from kolors_course.training.learning import Training, plain_pass
from kolors_course.training.losses import LossSettings
from kolors_course.training.objective import Denoising
from kolors_course.training.run import in_autocast


class WholeUnet:
    """The learner of full fine-tuning: every weight of the U-Net."""

    def __init__(self, model: KolorsModel):
        self.model = model
        self.module = model.unet.requires_grad_(True)

    def groups(self) -> list[dict[str, Any]]:
        """One group: all weights."""
        return [{"params": list(self.module.parameters())}]

    def state(self) -> dict[str, Tensor]:
        """All weights of the U-Net by name."""
        return self.module.state_dict()

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over the weights that `state` returned."""
        self.module.load_state_dict(state)


def fine_tune(
    model: KolorsModel,
    cache: EncodedPictures,
    *,
    steps: int,
    batch_size: int = 8,
    learning_rate: float = 2e-4,
    caption_dropout: float = 0.1,
    min_snr_gamma: float | None = 5.0,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> dict[str, Tensor]:
    """Train all weights of the U-Net, return by how much each changed, and leave the model as it was.

    The step is that of `train_lora` (batches, noise, timesteps, loss); only what learns is different.
    `changed_weights` puts the changes back.

    Args:
        cache: the encoded data set.
        progress: called with each step, from 1, and its loss.

    Returns:
        By the name of the parameter, on the model's device.

    Raises:
        CourseError: the loss is no longer a finite number.
    """
    unet = model.unet
    before = {name: parameter.detach().clone() for name, parameter in unet.named_parameters()}
    learner = WholeUnet(model)
    objective = Denoising(LossSettings(min_snr_gamma=min_snr_gamma))
    stream = PictureStream((cache,), seed, caption_dropout)
    material = NoisyBatches(stream, model.schedule.num_train_timesteps, batch_size)
    optimizer = torch.optim.AdamW(learner.groups(), lr=learning_rate)
    gradients = plain_pass(learner, in_autocast(objective, model.device), material)
    training = Training(learner, gradients, optimizer, rates=lambda step: [learning_rate])
    try:
        for losses in training.steps(lambda: training.step >= steps):
            if not losses["loss"].isfinite():
                raise CourseError(
                    f"the loss is {losses['loss'].item()} at step {training.step}; lower the learning rate"
                )
            if progress:
                progress(training.step, losses["loss"].item())
        return {name: (parameter - before[name]).detach() for name, parameter in unet.named_parameters()}
    finally:
        _restore(unet, before)
        unet.requires_grad_(False)
        unet.zero_grad(set_to_none=True)


@contextmanager
def changed_weights(unet: nn.Module, changes: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this context `changes`, as `fine_tune` returns them, are added to the weights; then they are as before.

    Raises:
        CourseError: a change is of a weight that `unet` does not have, or of another shape.
    """
    parameters = dict(unet.named_parameters())
    for name, change in changes.items():
        if name not in parameters or parameters[name].shape != change.shape:
            raise CourseError(f"{name} with shape {tuple(change.shape)} is no weight of this U-Net")
    before = {name: parameters[name].detach().clone() for name in changes}
    with torch.no_grad():
        for name, change in changes.items():
            parameters[name].add_(change)
    try:
        yield
    finally:
        _restore(unet, before)


@torch.no_grad()
def _restore(unet: nn.Module, before: Mapping[str, Tensor]) -> None:
    parameters = dict(unet.named_parameters())
    for name, weight in before.items():
        parameters[name].copy_(weight)
