"""LoRA from scratch, small enough to read in a lesson. Training uses peft; a test proves both equal."""

import math

import torch
from torch import Tensor, nn


def lora_scale(rank: int, alpha: float, rslora: bool = False) -> float:
    """The factor in front of B @ A: alpha/r (arXiv 2106.09685, section 4.1), or alpha/sqrt(r) for rsLoRA.

    rsLoRA (arXiv 2312.03732): with alpha/r the update shrinks as r grows; alpha/sqrt(r) keeps its size.
    """
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def lora_delta(A: Tensor, B: Tensor, alpha: float, rank: int, rslora: bool = False) -> Tensor:
    """The change of weight ΔW = scale · B @ A of arXiv 2106.09685, equation 3.

    Args:
        A: (rank, in_features), "down".
        B: (out_features, rank), "up".

    Returns:
        (out_features, in_features), of rank `rank` at most.
    """
    return lora_scale(rank, alpha, rslora) * (B @ A)


def merged_weight(
    weight: Tensor,
    A: Tensor,
    B: Tensor,
    alpha: float,
    rank: int,
    rslora: bool = False,
    strength: float = 1.0,
) -> Tensor:
    """W + strength · ΔW: one matrix that does what the frozen weight and the LoRA do together.

    Args:
        weight: (out_features, in_features), the frozen weight W.
        A: (rank, in_features).
        B: (out_features, rank).

    Returns:
        (out_features, in_features), a new tensor.
    """
    return weight + strength * lora_delta(A, B, alpha, rank, rslora)


class LoRALinear(nn.Module):
    """h = W x + b + scale · B A x (arXiv 2106.09685, equation 3) around a frozen `nn.Linear`.

    A starts Gaussian with a standard deviation of 1/rank, B starts at zero, so the wrapped layer begins
    as an exact copy of the frozen one. Only A and B learn.

    Args:
        base: the layer to adapt; its parameters are frozen in place.
        generator: draws A.
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        alpha: float,
        generator: torch.Generator,
        rslora: bool = False,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.rank, self.alpha, self.rslora = rank, alpha, rslora
        like_base = {"device": base.weight.device, "dtype": base.weight.dtype}
        down = torch.randn(rank, base.in_features, generator=generator, device=generator.device) / rank
        self.lora_A = nn.Parameter(down.to(**like_base))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank, **like_base))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features).

        A x comes first: two thin products cost rank · (in + out) multiplications a token, where ΔW x would
        cost in · out.
        """
        update = (x @ self.lora_A.T) @ self.lora_B.T
        return self.base(x) + lora_scale(self.rank, self.alpha, self.rslora) * update

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """Return a plain `nn.Linear` that computes the same function, so sampling costs nothing extra."""
        factors = (self.lora_A, self.lora_B, self.alpha, self.rank, self.rslora)
        has_bias = self.base.bias is not None
        merged = nn.Linear(self.base.in_features, self.base.out_features, bias=has_bias)
        merged = merged.to(self.base.weight.device, self.base.weight.dtype)
        merged.weight.copy_(merged_weight(self.base.weight, *factors))
        if has_bias:
            merged.bias.copy_(self.base.bias)
        return merged
