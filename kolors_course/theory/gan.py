"""A generative adversarial network of the plane (arXiv 1406.2661), and how it forgets modes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from kolors_course.errors import CourseError
from kolors_course.theory.nets import draw, mlp, weights_from


@dataclass(frozen=True, eq=False)
class GanRound:
    """The generator and both losses after a round of the game.

    Attributes:
        round: counted from 1.
        generator_loss, discriminator_loss: neither says how good the samples are; a discriminator that cannot tell
            has log 4.
        net: the generator network, from noise (B, 2) to points (B, D); it goes on learning.
    """

    round: int
    generator_loss: float
    discriminator_loss: float
    net: nn.Module


def train_gan(
    points: Tensor,
    *,
    generator: torch.Generator,
    generator_steps: int = 1,
    rounds: int = 1000,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
) -> Iterator[GanRound]:
    """Let a generator and a discriminator play, yielding every round.

    The discriminator learns to tell points from samples, the generator to be taken for real (the non-saturating game
    of section 3). They must keep pace. A generator that learns too much against one discriminator moves all samples
    to the place that this one believes in most, then, when that is found out, to the next: mode collapse
    (arXiv 1701.00160, section 5.1.1).

    Args:
        points: (N, D).
        generator_steps: steps of the generator for one of the discriminator; about 10 make it collapse.

    Raises:
        CourseError: `generator_steps` is below 1.
    """
    if generator_steps < 1:
        raise CourseError(f"generator_steps is {generator_steps}; give a whole number above 0")
    with weights_from(generator):
        net, critic = mlp(2, points.shape[1]), mlp(points.shape[1], 1)
    net_optimizer, critic_optimizer = (
        torch.optim.Adam(model.parameters(), learning_rate, betas=(0.5, 0.99)) for model in (net, critic)
    )

    def samples() -> Tensor:
        return net(torch.randn(batch_size, 2, generator=generator))

    for number in range(1, rounds + 1):
        real = points[draw(points, batch_size, generator)]
        critic_loss = softplus(-critic(real)).mean() + softplus(critic(samples().detach())).mean()
        _descend(critic_optimizer, critic_loss)
        for _ in range(generator_steps):
            net_loss = softplus(-critic(samples())).mean()
            _descend(net_optimizer, net_loss)
        yield GanRound(number, net_loss.item(), critic_loss.item(), net)


@torch.no_grad()
def gan_samples(net: nn.Module, count: int, generator: torch.Generator) -> Tensor:
    """New points (count, D) of a generator network."""
    return net(torch.randn(count, 2, generator=generator))


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
