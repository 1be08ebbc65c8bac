"""What tests of models on the plane share."""

import torch


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mass_of(log_p, reach=8.0, cells=161):
    """How much a density has in all, summed over a grid."""
    axis = torch.linspace(-reach, reach, cells)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        return (log_p(grid).exp().sum() * (2 * reach / (cells - 1)) ** 2).item()
