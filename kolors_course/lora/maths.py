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


def dora_weight(
    weight: Tensor,
    A: Tensor,
    B: Tensor,
    magnitude: Tensor,
    alpha: float,
    rank: int,
    rslora: bool = False,
) -> Tensor:
    """m · (W + ΔW) / ‖W + ΔW‖, row by row: LoRA turns each row, and m alone says how long it is (DoRA).

    arXiv 2402.09353, equation 5; its columns are the rows of `nn.Linear.weight`. With ΔW = 0 and m the lengths of
    the rows of W it is W itself.

    Args:
        weight, A, B: see `merged_weight`.
        magnitude: (out_features,), the length of each row.

    Returns:
        (out_features, in_features), a new tensor.
    """
    merged = merged_weight(weight, A, B, alpha, rank, rslora)
    return magnitude[:, None] * merged / merged.norm(dim=1, keepdim=True)


def kept_energy(delta: Tensor) -> Tensor:
    """How much of a change of weight the best change of rank 1, 2, … keeps: shares of ‖ΔW‖², rising to 1.

    The best one cuts off the smallest singular values (Eckart and Young 1936); `factorise` in `lora.svd` makes its
    factors.

    Args:
        delta: (out_features, in_features).

    Returns:
        float64, (min(out_features, in_features),).
    """
    squares = torch.linalg.svdvals(delta.double()).square()
    return squares.cumsum(dim=0) / squares.sum()


def turn_and_stretch(weight: Tensor, delta: Tensor) -> tuple[float, float]:
    """By how much a change turns the rows of a weight, and by how much it changes their lengths, on average.

    The two parts of arXiv 2402.09353, section 3.2, relative to the row: 1 - cosine, and |change of length| / length.

    Args:
        weight, delta: (out_features, in_features).
    """
    changed, lengths = weight + delta, weight.norm(dim=1)
    turned = 1 - nn.functional.cosine_similarity(weight, changed, dim=1)
    stretched = (changed.norm(dim=1) - lengths).abs() / lengths
    return turned.mean().item(), stretched.mean().item()


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
        down = torch.randn(rank, base.in_features, generator=generator, device=generator.device) / rank
        self.lora_A = nn.Parameter(down.to(base.weight))
        self.lora_B = nn.Parameter(base.weight.new_zeros(base.out_features, rank))

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
        has_bias = self.base.bias is not None
        merged = nn.Linear(self.base.in_features, self.base.out_features, bias=has_bias)
        merged = merged.to(self.base.weight.device, self.base.weight.dtype)
        merged.weight.copy_(self._merged_weight())
        if has_bias:
            merged.bias.copy_(self.base.bias)
        return merged

    def _merged_weight(self) -> Tensor:
        factors = (self.lora_A, self.lora_B, self.alpha, self.rank, self.rslora)
        return merged_weight(self.base.weight, *factors)


class DoRALinear(LoRALinear):
    """A `LoRALinear` that also learns how long each row of the weight is (see `dora_weight`).

    It starts as an exact copy of the frozen layer too. Arguments as for `LoRALinear`.
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        alpha: float,
        generator: torch.Generator,
        rslora: bool = False,
    ) -> None:
        super().__init__(base, rank, alpha, generator, rslora)
        self.magnitude = nn.Parameter(base.weight.detach().norm(dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features).

        The length of W + ΔW counts as a constant for the gradient, which saves memory (section 4.3 of the paper).
        """
        lengths = merged_weight(
            self.base.weight, self.lora_A.detach(), self.lora_B.detach(), self.alpha, self.rank, self.rslora
        ).norm(dim=1)
        turned = super().forward(x)
        if self.base.bias is None:
            return self.magnitude / lengths * turned
        return self.magnitude / lengths * (turned - self.base.bias) + self.base.bias

    def _merged_weight(self) -> Tensor:
        factors = (self.lora_A, self.lora_B, self.magnitude, self.alpha, self.rank, self.rslora)
        return dora_weight(self.base.weight, *factors)
