"""Which pictures each step sees: a pure function of the step, so that a resumed run sees the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kolors_course.training.cache import TrainingCache
from kolors_course.training.objective import Batch
from kolors_course.training.randomness import BUCKET, ORDER, generator_for


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
    """Endless batches from one cache for each picture size; pictures with repeats come that often in each pass."""

    caches: tuple[TrainingCache, ...]
    seed: int
    caption_dropout: float
    sample_posterior: bool = False

    def __len__(self) -> int:
        return sum(len(cache) for cache in self.caches)

    def batch(self, step: int, batch_size: int, generator: torch.Generator) -> Batch:
        """The batch of a step; `generator` draws mirroring, caption dropout and posterior samples."""
        bucket, own_step = bucket_at([len(cache.one_pass) for cache in self.caches], self.seed, step)
        cache = self.caches[bucket]
        rows = cache.one_pass[epoch_rows(len(cache.one_pass), batch_size, self.seed, own_step)]
        return cache.draw(rows, generator, self.caption_dropout, self.sample_posterior)
