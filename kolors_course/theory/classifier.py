"""A classifier that has seen noise, for classifier guidance (arXiv 2105.05233, section 4)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from kolors_course.diffusion import NoiseSchedule
from kolors_course.theory.nets import TimeNet, draw, fit, weights_from


def train_classifier(
    points: Tensor,
    labels: Tensor,
    schedule: NoiseSchedule,
    *,
    generator: torch.Generator,
    steps: int = 600,
    batch_size: int = 256,
) -> tuple[TimeNet, list[float]]:
    """Train p(y|x_t) at all timesteps: one classifier for every noise level that guidance will meet.

    Args:
        points: (N, D).
        labels: (N,) of whole numbers from 0.

    Returns:
        The network, which gives one logit a label, and the loss of each step.
    """
    with weights_from(generator):
        net = TimeNet(points.shape[1], int(labels.max()) + 1, horizon=schedule.num_train_timesteps)

    def loss() -> Tensor:
        rows = draw(points, batch_size, generator)
        noise = torch.randn(batch_size, points.shape[1], generator=generator)
        timesteps = torch.randint(schedule.num_train_timesteps, (batch_size,), generator=generator)
        return cross_entropy(net(schedule.add_noise(points[rows], noise, timesteps), timesteps), labels[rows])

    return net, fit(net.parameters(), loss, steps)


def log_probability(net: TimeNet, label: int) -> Callable[[Tensor, Tensor], Tensor]:
    """log p(label|x_t) of (sample, timestep), as `kolors_course.diffusion.classifier_guided` takes it."""
    return lambda sample, timestep: net(sample, timestep).log_softmax(dim=1)[:, label]
