"""Two-dimensional data sets. Each is a function (count, generator) -> points (count, 2), labels (count,).

All fill about the square from -2 to 2, the spread that a variance-preserving diffusion expects.
"""

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor

from kolors_course.errors import CourseError

Toy = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]

RADIUS, BLOB_STD = 1.5, 0.12  # of eight_gaussians
_CELLS = torch.tensor([(row, column) for row in range(4) for column in range(4) if (row + column) % 2 == 0])


def eight_centres() -> Tensor:
    """Where the modes of `eight_gaussians` are: (8, 2), on a circle."""
    angle = torch.arange(8) * (pi / 4)
    return RADIUS * torch.stack([angle.cos(), angle.sin()], dim=1)


def eight_gaussians(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eight round heaps on a circle; the label is the heap. The classic test of mode collapse."""
    label = torch.randint(8, (count,), generator=generator)
    return eight_centres()[label] + BLOB_STD * torch.randn(count, 2, generator=generator), label


def two_moons(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two half circles that reach into one another; the label is the moon."""
    label = torch.randint(2, (count,), generator=generator)
    angle = pi * torch.rand(count, generator=generator)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    points = torch.where(label[:, None] == 0, upper, -upper)
    return 1.2 * points + 0.08 * torch.randn(count, 2, generator=generator), label


def swiss_roll(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One spiral; the label is 0 in its inner half and 1 in its outer half."""
    angle = 1.5 * pi * (1 + 2 * torch.rand(count, generator=generator))
    points = angle[:, None] / 7 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return points + 0.04 * torch.randn(count, 2, generator=generator), (angle > 3 * pi).long()


def checkerboard(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The eight dark squares of a 4 x 4 board, evenly filled; the label is the square. Edges are hard to learn."""
    label = torch.randint(8, (count,), generator=generator)
    return _CELLS[label] - 2 + torch.rand(count, 2, generator=generator), label


TOYS: dict[str, Toy] = {
    "eight_gaussians": eight_gaussians,
    "two_moons": two_moons,
    "swiss_roll": swiss_roll,
    "checkerboard": checkerboard,
}


def get_toy(name: str) -> Toy:
    """The function that draws points of the data set `name`.

    Raises:
        CourseError: there is none; the message lists the names.
    """
    try:
        return TOYS[name]
    except KeyError:
        raise CourseError(f'unknown toy data set "{name}"; choose one of {", ".join(TOYS)}') from None
