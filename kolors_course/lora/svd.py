"""Low-rank factors by singular value decomposition: the closest of their rank (Eckart and Young 1936)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Factors:
    """B @ A, the best approximation of a change of weight, and how good it is.

    Attributes:
        A: (rank, in) or, of a convolution, (rank, in, height, width).
        B: (out, rank) or (out, rank, 1, 1).
        kept, total: the sum of squares of the singular values in B @ A, and of all of them.
    """

    A: Tensor
    B: Tensor
    kept: float
    total: float


def factorise(delta: Tensor, rank: int) -> Factors:
    """The best factors of rank `rank` of a change of weight (out, in) or (out, in, height, width), in float32."""
    U, S, Vh = torch.linalg.svd(delta.flatten(1).float(), full_matrices=False)
    return _factors(U, S, Vh, rank, delta.shape)


def truncate(delta: Tensor, ranks: Sequence[int]) -> list[Tensor]:
    """For each of `ranks` the closest change of weight of that rank at most, in the shape of `delta`; float32.

    One decomposition serves all ranks.
    """
    U, S, Vh = torch.linalg.svd(delta.flatten(1).float(), full_matrices=False)
    return [((U[:, :rank] * S[:rank]) @ Vh[:rank]).reshape(delta.shape) for rank in ranks]


def shrink(A: Tensor, B: Tensor, rank: int) -> Factors:
    """The best factors of a smaller rank of B @ A, through two thin QR decompositions.

    B @ A = Q_B (R_B R_Aᵀ) Q_Aᵀ, and only the small matrix in the middle needs a decomposition.
    """
    Q_B, R_B = torch.linalg.qr(B.flatten(1).double())
    Q_A, R_A = torch.linalg.qr(A.flatten(1).double().T)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T, full_matrices=False)
    return _factors(Q_B @ U, S, Vh @ Q_A.T, rank, (len(B), *A.shape[1:]))


def squared_norm(A: Tensor, B: Tensor) -> float:
    """‖B A‖² (Frobenius): the trace of (BᵀB)(A Aᵀ), or of the product where that is the smaller matrix."""
    A, B = A.flatten(1).double(), B.flatten(1).double()
    if len(A) ** 2 > len(B) * A.shape[1]:
        return (B @ A).square().sum().item()
    return ((B.T @ B) * (A @ A.T)).sum().clamp(min=0).item()


def _factors(U: Tensor, S: Tensor, Vh: Tensor, rank: int, shape: tuple[int, ...]) -> Factors:
    """Both factors get the root of each singular value; a layer too small for the rank is filled with zeros."""
    kept = min(rank, len(S))
    root = S[:kept].sqrt()
    A = U.new_zeros(rank, Vh.shape[1], dtype=torch.float32)
    B = U.new_zeros(len(U), rank, dtype=torch.float32)
    A[:kept], B[:, :kept] = root[:, None] * Vh[:kept], U[:, :kept] * root
    squares = S.double().square()
    energy = (squares[:kept].sum().item(), squares.sum().item())
    return Factors(A.reshape(rank, *shape[1:]), B.reshape(len(B), rank, *(1 for _ in shape[2:])), *energy)
