"""The loss on pictures that training never sees, and when to stop because of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kolors_course.dataset import Dataset
from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel
from kolors_course.training.cache import EncodedPictures
from kolors_course.training.limits import LIMITS
from kolors_course.training.losses import LossSettings
from kolors_course.training.objective import denoising_loss
from kolors_course.training.randomness import HELD_OUT, VALIDATION, generator_for


@dataclass(frozen=True)
class ValidationSettings:
    """How often a LoRA is judged on pictures that it is not trained on, and when training stops for it.

    Attributes:
        share: the part of the pictures that is held out; 0 for no validation.
        every: steps from one validation to the next.
        timesteps: how many timesteps each held-out picture is judged at.
        patience: stop after so many validations in a row without a better one, and keep the LoRA of the best;
            None never stops early.

    Raises:
        CourseError: a number is out of range, or there is patience but nothing held out.
    """

    share: float = 0.0
    every: int = 50
    timesteps: int = 4
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("share", "every", "timesteps", "patience"):
            if (value := getattr(self, name)) is not None:
                LIMITS[f"validation.{name}"].check(f"validation {name}", value)
        if self.patience and not self.share:
            raise CourseError("stopping early needs a validation share above 0, such as 0.1")


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """The pictures to train on, and those held out: `share` of them, at least one, the same for the same seed.

    Raises:
        CourseError: nothing would be left to train on.
    """
    if share == 0:
        return dataset, replace(dataset, samples=())
    count = max(1, round(share * len(dataset)))
    if count >= len(dataset):
        raise CourseError(
            f"{dataset.folder} has {len(dataset)} pictures: too few to hold {share:.0%} of them out; add pictures"
        )
    chosen = set(torch.randperm(len(dataset), generator=generator_for(seed, HELD_OUT))[:count].tolist())
    kept = tuple(sample for i, sample in enumerate(dataset.samples) if i not in chosen)
    held_out = tuple(sample for i, sample in enumerate(dataset.samples) if i in chosen)
    return replace(dataset, samples=kept), replace(dataset, samples=held_out)


@torch.no_grad()
def validation_loss(
    model: KolorsModel, held_out: Sequence[EncodedPictures], timesteps: int, batch_size: int
) -> float:
    """The plain squared error over all pictures held out, at the same timesteps and with the same noise each time.

    The timesteps are the middles of `timesteps` equal slices of the schedule. There is no weighting and no
    dropout, so that runs with different recipes can be compared.
    """
    total, count = 0.0, 0
    T = model.schedule.num_train_timesteps
    for bucket, pictures in enumerate(held_out):
        shape = pictures.latents.shape[2:]
        for k in range(timesteps):
            noise = torch.randn((len(pictures), *shape), generator=generator_for(VALIDATION, bucket, k))
            for start in range(0, len(pictures), batch_size):
                rows = slice(start, start + batch_size)
                batch = pictures.plain(rows)
                size = len(batch.latents)
                at = torch.full((size,), int((k + 0.5) * T / timesteps), device=batch.latents.device)
                loss = denoising_loss(model, batch, noise[rows].to(batch.latents), at, LossSettings())
                total, count = total + loss.item() * size, count + size
    return total / count


@dataclass
class BestSoFar:
    """The best validation of a run, and how many came after it."""

    loss: float = math.inf
    step: int = 0
    misses: int = 0
    lora: dict[str, Tensor] | None = None

    def update(self, step: int, loss: float, lora: dict[str, Tensor]) -> None:
        """Note a validation; `lora` is kept (as a copy) if it is the best."""
        if loss < self.loss:
            self.loss, self.step, self.misses = loss, step, 0
            self.lora = {name: tensor.clone() for name, tensor in lora.items()}
        else:
            self.misses += 1
