"""Normalising flows: networks that can be run backwards, so that a density is known exactly.

If x = f(z) and z is standard normal, log p(x) = log N(z) + log|det ∂z/∂x| (change of variables).
"""

from collections.abc import Callable
from math import log, pi

import torch
from torch import Tensor, nn

from kolors_course.theory.nets import draw, fit, mlp, time_features, weights_from

VelocityAndDivergence = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def log_normal(z: Tensor) -> Tensor:
    """log density of the standard normal, (B,)."""
    return -(z**2 + log(2 * pi)).sum(dim=1) / 2


class CouplingFlow(nn.Module):
    """RealNVP (arXiv 1605.08803, eq. 7 and 8): each layer scales and shifts one coordinate by what the other says.

    The inverse needs no inverse of a network, and the determinant is a sum.
    """

    def __init__(self, layers: int = 8, width: int = 64) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp(1, 2, width) for _ in range(layers))

    def to_noise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, 2) -> noise (B, 2) and log|det ∂z/∂x| (B,)."""
        log_det = torch.zeros(len(x), dtype=x.dtype)
        for i, net in enumerate(self.nets):
            kept, moved, s, t = self._split(x, net, i)
            x = _join(kept, moved * s.exp() + t, i)
            log_det = log_det + s[:, 0]
        return x, log_det

    def to_data(self, z: Tensor) -> Tensor:
        """Noise (B, 2) -> points (B, 2): the layers backwards."""
        for i, net in reversed(list(enumerate(self.nets))):
            kept, moved, s, t = self._split(z, net, i)
            z = _join(kept, (moved - t) * (-s).exp(), i)
        return z

    def log_density(self, x: Tensor) -> Tensor:
        """The exact log p(x) of points x (B, 2), (B,): that of the noise, and the change of volume."""
        z, log_det = self.to_noise(x)
        return log_normal(z) + log_det

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw points (count, 2): noise, sent through the flow."""
        return self.to_data(torch.randn(count, 2, generator=generator))

    def _split(self, x: Tensor, net: nn.Module, i: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kept, moved = (x[:, :1], x[:, 1:]) if i % 2 == 0 else (x[:, 1:], x[:, :1])
        s, t = net(kept).chunk(2, dim=1)
        return kept, moved, 2 * torch.tanh(s / 2), t  # held between -2 and 2: no layer blows up


def _join(kept: Tensor, moved: Tensor, i: int) -> Tensor:
    return torch.cat([kept, moved] if i % 2 == 0 else [moved, kept], dim=1)


class ContinuousFlow(nn.Module):
    """A velocity v(x, t) = Σ_k g_k(t)·w_k·tanh(u_k·x + b_k(t)), whose divergence is a sum as well.

    A continuous normalising flow (arXiv 1806.07366, section 4): instead of layers, a differential equation from data
    at t = 0 to noise at t = 1. Any velocity will do; this one makes the trace cheap.
    """

    def __init__(self, dimensions: int = 2, width: int = 64) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.inwards = nn.Linear(dimensions, width)
        self.outwards = nn.Linear(width, dimensions, bias=False)
        self.clock = nn.Linear(time_features(torch.zeros(()), 1).shape[1], 2 * width)

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity (B, D) and its divergence (B,) at points (B, D) and one time."""
        bias, gate = self.clock(time_features(t, 1)).chunk(2, dim=1)
        h = torch.tanh(self.inwards(x) + bias)
        traces = (self.inwards.weight * self.outwards.weight.T).sum(dim=1)  # w_k·u_k
        return self.outwards(gate * h), ((1 - h**2) * gate) @ traces

    def log_density(self, x: Tensor, steps: int = 8) -> Tensor:
        """log p(x), (B,); see `log_density`."""
        return log_density(self, x, steps)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator, steps: int = 8) -> Tensor:
        """New points (count, D): the equation from noise back to data."""
        z = torch.randn(count, self.dimensions, generator=generator)
        return follow(self, z, 1.0, 0.0, steps)[0]


def follow(
    field: VelocityAndDivergence, x: Tensor, start: float, end: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Follow dx/dt = v from `start` to `end` by the classic Runge-Kutta method; also ∫∇·v dt, (B,).

    The change of log density on the way is minus that integral (arXiv 1806.07366, Theorem 1).

    Args:
        field: (x, t) -> velocity (B, D) and divergence (B,), such as `transport.with_divergence(velocity)`.
        x: (B, D).
    """
    h = (end - start) / steps
    spread = torch.zeros(len(x), dtype=x.dtype)
    for i in range(steps):
        t = torch.tensor(start + i * h)
        v1, d1 = field(x, t)
        v2, d2 = field(x + h / 2 * v1, t + h / 2)
        v3, d3 = field(x + h / 2 * v2, t + h / 2)
        v4, d4 = field(x + h * v3, t + h)
        x = x + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        spread = spread + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    return x, spread


def log_density(field: VelocityAndDivergence, x: Tensor, steps: int = 8) -> Tensor:
    """log p(x), (B,), of the data that a velocity makes from standard normal noise at t = 1."""
    z, spread = follow(field, x, 0.0, 1.0, steps)
    return log_normal(z) + spread


def train_flow(
    flow: CouplingFlow | ContinuousFlow,
    points: Tensor,
    *,
    generator: torch.Generator,
    steps: int = 400,
    batch_size: int = 256,
) -> list[float]:
    """Maximum likelihood: make the points as probable as can be. Returns the loss of each step, in nats a point."""

    def loss() -> Tensor:
        return -flow.log_density(points[draw(points, batch_size, generator)]).mean()

    return fit(flow.parameters(), loss, steps)


def coupling_flow(generator: torch.Generator, layers: int = 8) -> CouplingFlow:
    """An untrained coupling flow with weights from `generator`."""
    with weights_from(generator):
        return CouplingFlow(layers)


def continuous_flow(generator: torch.Generator, width: int = 64) -> ContinuousFlow:
    """An untrained continuous flow with weights from `generator`."""
    with weights_from(generator):
        return ContinuousFlow(width=width)
