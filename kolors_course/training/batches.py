"""What each step sees, pictures and noise: a pure function of the step, so that a resumed run sees the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kolors_course.training.cache import EncodedPictures
from kolors_course.training.objective import Batch, draw_noise
from kolors_course.training.randomness import BUCKET, ORDER, STEP, generator_for


def epoch_rows(count: int, batch_size: int, seed: int, step: int) -> Tensor:
    """(batch_size,) picture indices of a step: every picture once in each epoch, in a new order each time."""
    first = step * batch_size
    epochs = range(first // count, (first + batch_size - 1) // count + 1)
    orders = [torch.randperm(count, generator=generator_for(seed, ORDER, epoch)) for epoch in epochs]
    return torch.cat(orders)[first % count :][:batch_size]


def bucket_at(counts: Sequence[int], seed: int, step: int) -> tuple[int, int]:
    """The bucket that a step draws from, and how many earlier steps drew from it.

    A batch holds pictures of one size only. In each round of sum(counts) steps every picture names the bucket of
    one step, so that pictures of rare sizes are seen as often as all others.
    """
    if len(counts) == 1:
        return 0, step
    sizes = torch.tensor(counts)
    rounds, position = divmod(step, int(sizes.sum()))
    order = torch.randperm(int(sizes.sum()), generator=generator_for(seed, BUCKET, rounds))
    buckets = torch.repeat_interleave(torch.arange(len(counts)), sizes)[order]
    bucket = int(buckets[position])
    return bucket, rounds * counts[bucket] + int((buckets[:position] == bucket).sum())


@dataclass(frozen=True)
class PictureStream:
    """Endless batches from the encoded pictures of each size; pictures with repeats come that often in each pass."""

    pictures: tuple[EncodedPictures, ...]
    seed: int
    caption_dropout: float
    sample_posterior: bool = False

    def __len__(self) -> int:
        return sum(len(encoded) for encoded in self.pictures)

    def batch(self, step: int, batch_size: int, generator: torch.Generator) -> Batch:
        """The batch of a step; `generator` draws mirroring, caption dropout and posterior samples."""
        bucket, own_step = bucket_at([len(encoded.one_pass) for encoded in self.pictures], self.seed, step)
        encoded = self.pictures[bucket]
        rows = encoded.one_pass[epoch_rows(len(encoded.one_pass), batch_size, self.seed, own_step)]
        return encoded.draw(rows, generator, self.caption_dropout, self.sample_posterior)


@dataclass(frozen=True)
class NoisyBatches:
    """The material of a denoising objective: batches of a stream, noise and timesteps.

    Attributes:
        num_train_timesteps: of the schedule.
        batch_size: of one process.
        processes, process: how many draw the same batches, and which share is this one's: together they see what one
            process with as many pictures a step would see.
        purpose: one of `randomness`, so that two streams of one training run are independent.
    """

    stream: PictureStream
    num_train_timesteps: int
    batch_size: int
    noise_offset: float = 0.0
    processes: int = 1
    process: int = 0
    purpose: int = STEP

    def __call__(self, step: int) -> dict[str, Any]:
        generator = generator_for(self.stream.seed, self.purpose, step)
        batch = self.stream.batch(step, self.batch_size * self.processes, generator)
        noise, timesteps = draw_noise(batch.latents, self.num_train_timesteps, generator, self.noise_offset)
        first = self.process * self.batch_size
        share = slice(first, first + self.batch_size)
        return {"batch": batch.rows(share), "noise": noise[share], "timesteps": timesteps[share]}
