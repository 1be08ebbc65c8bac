"""A diffusion model of the plane: the training step of the real one, in seconds."""

import torch
from torch import Tensor

from kolors_course.diffusion import Conditioning, NoiseSchedule
from kolors_course.theory.nets import TimeNet, draw, fit, weights_from


def diffusion_loss(
    net: TimeNet,
    x0: Tensor,
    schedule: NoiseSchedule,
    *,
    generator: torch.Generator,
    labels: Tensor | None = None,
    prediction_type: str = "epsilon",
) -> Tensor:
    """Mean squared error of the prediction at random timesteps (arXiv 2006.11239, eq. 14).

    Args:
        x0: clean points (B, D).
        labels: (B,), or None.
        prediction_type: what `net` predicts.
    """
    noise = torch.randn(x0.shape, generator=generator)
    timesteps = torch.randint(schedule.num_train_timesteps, (len(x0),), generator=generator)
    noisy = schedule.add_noise(x0, noise, timesteps)
    target = schedule.target(x0, noise, timesteps, prediction_type)
    return (net(noisy, timesteps, labels) - target).square().mean()


def train_denoiser(
    points: Tensor,
    schedule: NoiseSchedule,
    *,
    generator: torch.Generator,
    labels: Tensor | None = None,
    label_dropout: float = 0.1,
    prediction_type: str = "epsilon",
    steps: int = 1500,
    batch_size: int = 256,
) -> tuple[TimeNet, list[float]]:
    """Train a denoiser; `net` is then the `denoise` of a sampler.

    Args:
        points: (N, D).
        labels: (N,) of whole numbers from 0; then the net can be guided, see `conditioned`.
        label_dropout: share of labels that are hidden in training, so that the net learns to do without
            (arXiv 2207.12598, Algorithm 1).

    Returns:
        The network and the loss of each step.
    """
    classes = 0 if labels is None else int(labels.max()) + 1
    with weights_from(generator):
        net = TimeNet(points.shape[1], classes=classes, horizon=schedule.num_train_timesteps)

    def loss() -> Tensor:
        rows = draw(points, batch_size, generator)
        seen = None
        if labels is not None:
            hidden = torch.rand(batch_size, generator=generator) < label_dropout
            seen = labels[rows].masked_fill(hidden, classes)
        return diffusion_loss(
            net, points[rows], schedule, generator=generator, labels=seen, prediction_type=prediction_type
        )

    return net, fit(net.parameters(), loss, steps)


def conditioned(net: TimeNet, sample: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
    """The call of `kolors_course.diffusion.guided`: the label stands in for a prompt.

    `guided(partial(conditioned, net), label_of(3, 500), label_of(net.classes, 500), 4.0)` guides 500 points towards
    label 3; another label in second place is a negative prompt.
    """
    return net(sample, timestep, conditioning["label"])


def label_of(label: int, count: int) -> dict[str, Tensor]:
    """The conditioning of `count` points with the same label."""
    return {"label": torch.full((count,), label)}
