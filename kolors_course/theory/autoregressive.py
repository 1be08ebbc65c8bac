"""An autoregressive model of the plane: first x, then y given x, each chosen among cells as a word is among words.

As in PixelRNN (arXiv 1601.06759, section 3.3) a number is one of many values, so its distribution may have any shape.
"""

from math import log

import torch
from torch import Tensor, nn

from kolors_course.theory.nets import draw, fit, mlp, weights_from

_NEVER_SEEN = 0.1  # points that an empty column counts for: what was not seen is not impossible


class Autoregressive(nn.Module):
    """p(x, y) = p(x)·p(y|x): the cell of x is counted, and a network that is told x makes a table for that of y.

    Args:
        points: (N, 2); their first numbers are counted.
        cells: on each side of the square from -reach to reach; within a cell the density is even.

    Attributes:
        first: log share of each column, (cells,).
        second: from the middle of a column (B, 1) to scores of its cells (B, cells).
        cell: the side of a cell.
    """

    first: Tensor

    def __init__(self, points: Tensor, cells: int = 64, reach: float = 2.5, width: int = 64) -> None:
        super().__init__()
        self.cells, self.reach, self.cell = cells, reach, 2 * reach / cells
        counts = torch.bincount(self.cell_of(points[:, 0]), minlength=cells) + _NEVER_SEEN
        self.register_buffer("first", (counts / counts.sum()).log())
        self.second = mlp(1, cells, width)

    def cell_of(self, numbers: Tensor) -> Tensor:
        """In which cell each number lies, from 0; those outside the square go to its edge."""
        return ((numbers + self.reach) / self.cell).long().clamp(0, self.cells - 1)

    def centre_of(self, cell: Tensor) -> Tensor:
        """The middle of each cell."""
        return (cell + 0.5) * self.cell - self.reach

    def log_density(self, points: Tensor) -> Tensor:
        """The exact log p of points (B, 2), (B,); outside the square it is -∞."""
        column, row = self.cell_of(points).T
        log_x = self.first[column]
        log_y = self.second(self.centre_of(column)[:, None]).log_softmax(dim=1).gather(1, row[:, None])[:, 0]
        inside = points.abs().amax(dim=1) < self.reach
        return (log_x + log_y - 2 * log(self.cell)).where(inside, -torch.inf)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """New points (count, 2): a column, then a row of it, then a place in that cell."""
        column = torch.multinomial(self.first.exp(), count, replacement=True, generator=generator)
        rows = self.second(self.centre_of(column)[:, None]).softmax(dim=1)
        cell = torch.stack([column, torch.multinomial(rows, 1, generator=generator)[:, 0]], dim=1)
        return self.centre_of(cell) + self.cell * (torch.rand(count, 2, generator=generator) - 0.5)


def train_autoregressive(
    points: Tensor, *, generator: torch.Generator, steps: int = 1500, batch_size: int = 256
) -> tuple[Autoregressive, list[float]]:
    """Train an `Autoregressive` by maximum likelihood.

    Args:
        points: (N, 2), within its square.

    Returns:
        The model and the loss of each step, in nats a point.
    """
    with weights_from(generator):
        model = Autoregressive(points)

    def loss() -> Tensor:
        return -model.log_density(points[draw(points, batch_size, generator)]).mean()

    return model, fit(model.parameters(), loss, steps)
