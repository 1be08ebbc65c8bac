"""What a VAE is trained on in a step: pictures of the world, and among them some that are not of it."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kolors_course.mini.foreign import with_foreign
from kolors_course.mini.pictures import to_model
from kolors_course.training.learning import Material
from kolors_course.training.recorded import to_device

Drawn = tuple[Tensor, Tensor, Tensor]  # noise, numbers of pictures, which of them give way to foreign ones


def mixed_pictures(
    pictures: Tensor,
    batch_size: int,
    latent: tuple[int, int, int],
    seed: int,
    *,
    foreign_share: float = 0.0,
    pool: Tensor | None = None,
    done: int = 0,
) -> Material:
    """Batches of `pictures`, each once in every pass over them, and the noise of the posterior.

    With a `foreign_share`, that many give way to foreign ones, and `world` (B,) is 1.0 where they have not.

    Args:
        pictures: uint8 (N, 3, H, W), where they are trained on.
        latent: the shape (C, h, w) of a picture's latents.
        pool: foreign pictures to choose from, uint8 (M, 3, H, W); None draws new ones in each step.
        done: how many steps are done already; those after them see what they would have seen without a break.
    """
    device = pictures.device
    drawn = _drawn(len(pictures), batch_size, latent, seed, foreign_share)
    for _ in range(done):
        next(drawn)

    def foreign_batch(batch: Tensor, where: Tensor, rng: np.random.Generator) -> Tensor:
        if pool is None:
            return with_foreign(batch, where, rng)
        chosen = torch.from_numpy(rng.integers(len(pool), size=batch_size))
        return torch.where(
            to_device(where, device)[:, None, None, None], pool[to_device(chosen, device)], batch
        )

    def material(step: int) -> dict[str, Tensor]:
        noise, rows, foreign = next(drawn)
        batch, told = pictures[to_device(rows, device)], {}
        if foreign_share:
            batch = foreign_batch(batch, foreign, np.random.default_rng((seed, step)))
            told = {"world": to_device((~foreign).float(), device)}
        pixels = to_model(batch).contiguous(memory_format=torch.channels_last)
        return {"noise": to_device(noise, device), "pixels": pixels, **told}

    return material


def _drawn(
    count: int, batch_size: int, latent: tuple[int, int, int], seed: int, foreign_share: float
) -> Iterator[Drawn]:
    """What is random in each step from the first on, on the CPU."""
    generator = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[Tensor]:
        while True:
            for rows in torch.randperm(count, generator=generator).split(batch_size):
                if len(rows) == batch_size:
                    yield rows

    endless = batches()
    while True:
        noise = torch.randn((batch_size, *latent), generator=generator)
        rows, foreign = next(endless), torch.zeros(batch_size, dtype=torch.bool)
        if foreign_share:
            foreign = torch.rand(batch_size, generator=generator) < foreign_share
        yield noise, rows, foreign
