"""Moving probability: the transport equation, and what a velocity does to a density.

If every point moves with velocity v(x, t), the density obeys ∂p/∂t + ∇·(p·v) = 0 (the continuity equation,
传输方程). Noise adds ½g²·Δp to the change of p (the Fokker-Planck equation). So a diffusion's ODE and its SDE can
have the same p (arXiv 2011.13456, appendix D.1).
"""

from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]


def divergence(vectors: Tensor, x: Tensor, create_graph: bool = False) -> Tensor:
    """∇·v at each point, (B,), exactly: one derivative for each dimension.

    Args:
        vectors: v(x), (B, D), computed from `x` with gradients on; row b must depend on row b of x alone.
        x: (B, D), requires grad.
    """
    total = torch.zeros(len(x), dtype=x.dtype)
    for i in range(x.shape[1]):
        (slope,) = torch.autograd.grad(vectors[:, i].sum(), x, create_graph=create_graph, retain_graph=True)
        total = total + slope[:, i]
    return total


def with_divergence(velocity: Field) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A velocity (x, t) -> (B, D) as one that also says its divergence (B,)."""

    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            v = velocity(x, t)
            spread = divergence(v, x)
        return v.detach(), spread.detach()

    return both


def continuity_residual(log_density: Field, velocity: Field, x: Tensor, t: Tensor) -> Tensor:
    """∂log p/∂t + v·∇log p + ∇·v at each point, (B,): the continuity equation over p. 0 where it holds.

    Args:
        log_density: (x, t) -> (B,), differentiable in both.
        velocity: (x, t) -> (B, D).
        x: (B, D).
        t: a tensor without dimensions.
    """
    return fokker_planck_residual(log_density, velocity, lambda t: torch.zeros_like(t), x, t)


def fokker_planck_residual(
    log_density: Field, drift: Field, diffusion: Callable[[Tensor], Tensor], x: Tensor, t: Tensor
) -> Tensor:
    """The same for dx = f(x, t)·dt + g(t)·dw: ∂log p/∂t + f·s + ∇·f - ½g²·(|s|² + ∇·s) with the score s = ∇log p.

    Args:
        drift: f, (x, t) -> (B, D).
        diffusion: g, t -> a tensor without dimensions.
        log_density, x, t: see `continuity_residual`.
    """
    with torch.enable_grad():
        x, t = x.detach().requires_grad_(), t.detach().expand(len(x)).clone().requires_grad_()
        score, change = torch.autograd.grad(log_density(x, t).sum(), (x, t), create_graph=True)
        f = drift(x, t[0])
        flow = (f * score).sum(dim=1) + (divergence(f, x) if f.requires_grad else 0)
        spread = score.square().sum(dim=1) + divergence(score, x)
        return (change + flow - diffusion(t[0]) ** 2 / 2 * spread).detach()
