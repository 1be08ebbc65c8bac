"""The small networks of the plane, and the loop that trains them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import pi

import torch
from torch import Tensor, nn

from kolors_course.errors import CourseError

_FREQUENCIES = 4
_LABEL_WIDTH = 8  # narrow, so that a label does not drown the two numbers of a point


def mlp(inputs: int, outputs: int, width: int = 64, depth: int = 2) -> nn.Sequential:
    """`depth` hidden layers of `width` with SiLU between."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise([inputs, *[width] * depth]):
        layers += [nn.Linear(n_in, n_out), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def time_features(t: Tensor, count: int) -> Tensor:
    """t in 0 … 1, of one value or `count` values -> (count, 2·4+1): t, and waves from slow to fast."""
    t = t.float().reshape(-1, 1).expand(count, 1)
    phase = t * (pi * 2.0 ** torch.arange(_FREQUENCIES))
    return torch.cat([t, phase.sin(), phase.cos()], dim=1)


class TimeNet(nn.Module):
    """A network f(x, t) or f(x, t, label): the tiny cousin of the U-Net.

    Args:
        outputs: width of the answer; None is as wide as x.
        classes: number of labels; 0 for none. Label `classes` stands for "no label", as an empty prompt does.
        horizon: times run from 0 to this.
    """

    def __init__(
        self,
        dimensions: int = 2,
        outputs: int | None = None,
        *,
        classes: int = 0,
        horizon: float = 1.0,
        width: int = 64,
        depth: int = 3,
    ) -> None:
        super().__init__()
        self.classes, self.horizon = classes, horizon
        self.label = nn.Embedding(classes + 1, _LABEL_WIDTH) if classes else None
        inputs = dimensions + 2 * _FREQUENCIES + 1 + (_LABEL_WIDTH if classes else 0)
        self.body = mlp(inputs, outputs or dimensions, width, depth)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Map x (B, D), t (without dimensions or (B,)) and labels (B,) to (B, outputs); None is "no label"."""
        features = [x, time_features(t / self.horizon, len(x))]
        if self.label is not None:
            label = torch.full((len(x),), self.classes) if label is None else label
            features.append(self.label(label))
        elif label is not None:
            raise CourseError("this network was built without classes, so it takes no labels")
        return self.body(torch.cat(features, dim=1))


@contextmanager
def weights_from(generator: torch.Generator) -> Iterator[None]:
    """Networks built inside draw their weights from `generator`; the global random state is left as it was."""
    seed = int(torch.randint(2**63 - 1, (1,), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def fit(
    parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor], steps: int, learning_rate: float = 5e-3
) -> list[float]:
    """Call `loss()` and step Adam, `steps` times, with the learning rate falling to 0; return the losses.

    Raises:
        CourseError: the loss is no longer a finite number.
    """
    optimizer = torch.optim.Adam(parameters, learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for step in range(steps):
        value = loss()
        if not value.isfinite():
            raise CourseError(f"the loss is {value.item()} at step {step}; lower the learning rate")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        decay.step()
        losses.append(value.item())
    return losses


def draw(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random row numbers (count,) of `points`: a batch is `points[draw(...)]`."""
    return torch.randint(len(points), (count,), generator=generator)
