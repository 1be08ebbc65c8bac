"""Exercises of notebook 08: the layer itself, merging it, and the rank that a change needs."""

from collections.abc import Callable

import torch
from torch import Tensor

from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Right
from kolors_course.exercises.formulas import Slip, compare
from kolors_course.lora.maths import lora_delta, merged_weight


def lora_forward(x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """W x + alpha/rank · B A x for rows x (arXiv 2106.09685, equation 3)."""
    return x @ W.T + alpha / len(A) * (x @ A.T) @ B.T


@exercise(
    lambda: lora_forward,
    "x holds rows, so W x is written x @ W.T, and so with A and B; the rank is len(A).",
    "x 的每一行是一个向量，所以 W x 写成 x @ W.T，A 和 B 也一样；秩是 len(A)。",
)
def check_lora_forward(forward: Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]) -> Right:
    """Whether `forward(x, W, A, B, alpha)` is a LoRA layer without a bias.

    `x` is (rows, in), `W` (out, in), `A` (rank, in), `B` (out, rank).

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    generator = torch.Generator().manual_seed(0)

    # Square layers too, so that a transposed factor does not fail on its shape but is named.
    def case(rows: int, out: int, wide: int, rank: int, alpha: float) -> tuple:
        shapes = ((rows, wide), (out, wide), (rank, wide), (out, rank))
        return (*(torch.randn(shape, generator=generator) for shape in shapes), alpha)

    cases = (case(2, 3, 3, 3, 6.0), case(1, 2, 2, 2, 1.0))
    slips = (
        Slip(
            lambda x, W, A, B, alpha: x @ W.T + (x @ A.T) @ B.T,
            "The scale alpha/rank is missing.",
            "缺了缩放 alpha/rank。",
        ),
        Slip(
            lambda x, W, A, B, alpha: x @ W.T + alpha * (x @ A.T) @ B.T,
            "alpha has to be divided by the rank, which is the number of rows of A.",
            "alpha 还要除以秩，也就是 A 的行数。",
        ),
        Slip(
            lambda x, W, A, B, alpha: alpha / len(A) * (x @ W.T + (x @ A.T) @ B.T),
            "Only the update is scaled. The frozen layer stays what it is.",
            "只缩放更新量。冻结的那一层保持原样。",
        ),
        Slip(
            lambda x, W, A, B, alpha: alpha / len(A) * (x @ A.T) @ B.T,
            "The frozen layer x @ W.T is missing: LoRA adds to it.",
            "缺了冻结层 x @ W.T：LoRA 是加在它上面的。",
        ),
        Slip(
            lambda x, W, A, B, alpha: x @ W.T + alpha / len(A) * (x @ B.T) @ A.T,
            "A and B have changed places: A comes first and makes the vector short, B makes it long again.",
            "A 和 B 换了位置：先用 A 把向量变短，再用 B 变长。",
        ),
        Slip(
            lambda x, W, A, B, alpha: x @ W.T + alpha / len(A) * (x @ A) @ B,
            "The transposes are missing: x holds rows, so W x is written x @ W.T, and so with A and B.",
            "少了转置：x 的每一行是一个向量，W x 要写成 x @ W.T，A 和 B 也一样。",
        ),
        Slip(
            lambda x, W, A, B, alpha: x @ W + alpha / len(A) * (x @ A.T) @ B.T,
            "W is not transposed: x holds rows, so W x is written x @ W.T.",
            "W 没有转置：x 的每一行是一个向量，W x 要写成 x @ W.T。",
        ),
    )
    compare(forward, lora_forward, cases, slips)
    compare(forward, lora_forward, (case(2, 3, 4, 2, 4.0),), ())
    hand = (
        torch.tensor([[1.0, 1.0]]),
        torch.eye(2),
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([[3.0], [4.0]]),
        2.0,
    )
    compare(forward, lora_forward, (hand,), ())
    return Right(
        "By hand: x = [1, 1], W = identity, A = [1, 2], B = [3, 4]ᵀ, alpha 2, rank 1: A x = 3, B·3 = [9, 12], times "
        "2, plus x: [19, 25].",
        "手算：x = [1, 1]，W 为单位阵，A = [1, 2]，B = [3, 4]ᵀ，alpha 2，秩 1：A x = 3，B·3 = [9, 12]，乘 2 再加 x："
        "[19, 25]。",
    )


def _merge(W: Tensor, A: Tensor, B: Tensor, alpha: float, strength: float) -> Tensor:
    return merged_weight(W, A, B, alpha, len(A), strength=strength)


@exercise(
    lambda: _merge,
    "ΔW is alpha/rank · B A, a matrix of the shape of W.",
    "ΔW 是 alpha/rank · B A，形状和 W 相同。",
)
def check_merge(merge: Callable[[Tensor, Tensor, Tensor, float, float], Tensor]) -> Right:
    """Whether `merge(W, A, B, alpha, strength)` is the one matrix that does what W and the LoRA do together.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    generator = torch.Generator().manual_seed(1)

    def case(rank: int, alpha: float, strength: float) -> tuple:
        shapes = ((3, 3), (rank, 3), (3, rank))
        return (*(torch.randn(shape, generator=generator) for shape in shapes), alpha, strength)

    cases = (case(2, 4.0, 0.5), case(3, 1.0, -1.0), case(3, 6.0, 2.0))

    slips = (
        Slip(
            lambda W, A, B, alpha, strength: W + lora_delta(A, B, alpha, len(A)),
            "strength is left out.",
            "漏了 strength。",
        ),
        Slip(
            lambda W, A, B, alpha, strength: strength * (W + lora_delta(A, B, alpha, len(A))),
            "strength scales the update only, not the frozen weight.",
            "strength 只缩放更新量，不缩放冻结的权重。",
        ),
        Slip(
            lambda W, A, B, alpha, strength: (1 - strength) * W + strength * lora_delta(A, B, alpha, len(A)),
            "That fades W out. A LoRA is an addition to W, at any strength.",
            "这会让 W 淡出。无论强度多大，LoRA 都是加在 W 上的。",
        ),
        Slip(
            lambda W, A, B, alpha, strength: W + strength * B @ A,
            "The scale alpha/rank is missing: strength comes on top of it.",
            "缺了缩放 alpha/rank：strength 是再乘在它上面的。",
        ),
        Slip(
            lambda W, A, B, alpha, strength: W - strength * lora_delta(A, B, alpha, len(A)),
            "That takes the LoRA away; merging adds it.",
            "这是减去 LoRA；合并要加上它。",
        ),
    )
    compare(merge, _merge, cases, slips)
    return Right("W + strength · alpha/rank · B A.", "W + strength · alpha/rank · B A。")


def conv_delta(A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """ΔW (out, in, k, k) of a convolution: alpha/r · B A, each kernel of A written as a row."""
    return lora_delta(A.flatten(1), B.flatten(1), alpha, len(A)).unflatten(1, A.shape[1:])


@exercise(
    lambda: conv_delta,
    "A.flatten(1) writes each of its kernels as a row: (r, in·k·k). B.flatten(1) is (out, r). What comes of B A, and "
    "of which shape must it be in the end?",
    "A.flatten(1) 把每个卷积核写成一行：(r, in·k·k)。B.flatten(1) 是 (out, r)。B A 得到什么？最后应是什么形状？",
)
def check_conv_delta(delta: Callable[[Tensor, Tensor, float], Tensor]) -> Right:
    """Whether `delta(A, B, alpha)` is the change of a convolution's kernel.

    `A` is (r, in, k, k), `B` (out, r, 1, 1); the change is (out, in, k, k).

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    generator = torch.Generator().manual_seed(2)

    def case(out: int, inside: int, rank: int, side: int, alpha: float) -> tuple:
        shapes = ((rank, inside, side, side), (out, rank, 1, 1))
        return (*(torch.randn(shape, generator=generator) for shape in shapes), alpha)

    cases = (case(3, 2, 2, 3, 4.0), case(4, 3, 1, 3, 1.0), case(2, 2, 3, 1, 6.0))
    slips = (
        Slip(
            lambda A, B, alpha: conv_delta(A, B, len(A)),
            "The scale alpha/rank is missing.",
            "缺了缩放 alpha/rank。",
        ),
        Slip(
            lambda A, B, alpha: alpha * conv_delta(A, B, len(A)),
            "alpha has to be divided by the rank, which is the number of A's kernels.",
            "alpha 还要除以秩，也就是 A 的卷积核个数。",
        ),
        Slip(
            lambda A, B, alpha: conv_delta(A.flip(2, 3), B, alpha),
            "The kernel is turned over: in networks a convolution does not flip it.",
            "卷积核被翻转了：神经网络里的卷积不翻转卷积核。",
        ),
        Slip(
            lambda A, B, alpha: conv_delta(A.transpose(2, 3), B, alpha),
            "Rows and columns of the kernels have changed places.",
            "卷积核的行和列互换了。",
        ),
    )
    compare(delta, conv_delta, cases, slips)
    return Right(
        "Two convolutions in a row, the second of 1 x 1, are one with the kernel alpha/r · B A.",
        "先做 A 再做 1 x 1 的 B，两次卷积等于一次卷积，核为 alpha/r · B A。",
    )


def rank_needed(singular_values: Tensor, share: float) -> int:
    """The smallest rank whose best approximation keeps `share` of ‖ΔW‖², given all singular values, falling."""
    energy = singular_values.double().square().cumsum(dim=0)
    return int((energy < share * energy[-1] * (1 - 1e-9)).sum()) + 1


@exercise(
    lambda: rank_needed,
    "singular_values.square().cumsum(0) says what each rank keeps. How many of them are still too small?",
    "singular_values.square().cumsum(0) 给出每个秩保留多少。其中有几个还不够？",
)
def check_rank_needed(rank: Callable[[Tensor, float], int]) -> Right:
    """Whether `rank(singular_values, share)` is the smallest rank that keeps `share` of a change's squared length.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    values = torch.tensor([4.0, 2.0, 2.0, 1.0])  # squares 16, 4, 4, 1, together 25
    cases = ((values, 0.6), (values, 0.9), (values, 0.97), (values, 1.0), (torch.tensor([3.0, 3.0]), 0.7))

    def plain(s: Tensor, share: float) -> int:
        return int((s.cumsum(dim=0) < share * s.sum() * (1 - 1e-9)).sum()) + 1

    slips = (
        Slip(
            plain,
            "The lengths add up in squares: compare sums of σ², not of σ.",
            "长度要按平方相加：比较的是 σ² 的和，不是 σ 的和。",
        ),
        Slip(
            lambda s, share: rank_needed(s, share) - 1,
            "One too few: that rank does not reach the share yet. Python counts positions from 0, ranks begin at 1.",
            "少了一个：这个秩还没达到要求。Python 的下标从 0 开始，秩从 1 开始。",
        ),
        Slip(
            lambda s, share: int((s >= (1 - share) * s[0]).sum()),
            "That counts singular values above a threshold. Wanted is how many *together* keep the share.",
            "这是数超过阈值的奇异值。要求的是前几个*合起来*达到这个比例。",
        ),
        Slip(
            lambda s, share: len(s),
            "All of them always suffice; the smallest number is wanted.",
            "全部当然够；要的是最小的个数。",
        ),
    )
    compare(rank, rank_needed, cases, slips)
    return Right(
        "By hand: σ = 4, 2, 2, 1, squares 16 + 4 + 4 + 1 = 25. Rank 2 keeps 20/25 = 80 %, rank 3 keeps 96 %.",
        "手算：σ = 4, 2, 2, 1，平方和 16 + 4 + 4 + 1 = 25。秩 2 保留 20/25 = 80 %，秩 3 保留 96 %。",
    )
