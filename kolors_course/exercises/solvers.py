"""Exercises of notebook 03: a step of Heun's, the order of a solver, and where Kolors' sampling starts."""

from collections.abc import Callable
from math import log, log2

import torch
from torch import Tensor

from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Right
from kolors_course.exercises.formulas import Slip, compare

Slope = Callable[[Tensor, float], Tensor]


def heun_step(slope: Slope, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """One step of Heun's method on dx/dσ = slope(x, σ) (arXiv 2206.00364, Algorithm 1, for σ_next > 0)."""
    first = slope(x, sigma)
    second = slope(x + (sigma_next - sigma) * first, sigma_next)
    return x + (sigma_next - sigma) * (first + second) / 2


@exercise(
    lambda: heun_step,
    "Euler's step is x + (sigma_next - sigma) * slope(x, sigma). Where it lands, ask again.",
    "欧拉步是 x + (sigma_next - sigma) * slope(x, sigma)。在它到达的地方再问一次斜率。",
)
def check_heun_step(step: Callable[[Slope, Tensor, float, float], Tensor]) -> Right:
    """Whether `step(slope, x, sigma, sigma_next)` is a step of Heun's method.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    x = torch.tensor([1.0, -2.0])
    cases = (
        (_slope(lambda x, σ: x * σ), x, 2.0, 1.0),
        (_slope(lambda x, σ: x / σ + σ**2), x, 3.0, 1.0),
        (_slope(lambda x, σ: x**2 - σ), x, 1.0, 0.5),
    )
    slips = (
        Slip(
            lambda f, x, a, b: x + (b - a) * f(x, a),
            "That is Euler's step: one slope. Ask again where it lands, and go the mean of both ways.",
            "这是欧拉法：只用一个斜率。到达后再问一次，取两个斜率的平均。",
        ),
        Slip(
            lambda f, x, a, b: x + (b - a) * f(x + (b - a) * f(x, a), b),
            "That uses the slope at the far end alone; Heun's takes the mean of both.",
            "这里只用了终点的斜率；Heun 法取两者的平均。",
        ),
        Slip(
            lambda f, x, a, b: x + (b - a) * f(x + (b - a) / 2 * f(x, a), (a + b) / 2),
            "That is the midpoint method: second order as well, but another one. Heun's asks at the far end.",
            "这是中点法：也是二阶，但不是 Heun 法。Heun 法在终点再问一次。",
        ),
        Slip(
            lambda f, x, a, b: x + (b - a) * (f(x, a) + f(x + (b - a) * f(x, a), b)),
            "The mean of the two slopes, not their sum: half of it.",
            "是两个斜率的平均，不是和：还要除以 2。",
        ),
        Slip(
            lambda f, x, a, b: x + (b - a) * (f(x, a) + f(x, b)) / 2,
            "The second question is asked at the point where Euler's step lands, not at x.",
            "第二次要在欧拉步到达的点上问，而不是在 x 处。",
        ),
        Slip(
            lambda f, x, a, b: x + (b - a) * (f(x, a) + f(x + (b - a) * f(x, a), a)) / 2,
            "The second question is asked at the noise level of the far end, sigma_next.",
            "第二次提问时的噪声水平是终点的 sigma_next。",
        ),
        Slip(
            lambda f, x, a, b: x - (b - a) * (f(x, a) + f(x - (b - a) * f(x, a), b)) / 2,
            "The step is sigma_next - sigma. It is negative, because the noise falls.",
            "步长是 sigma_next - sigma。它是负数，因为噪声在减少。",
        ),
        Slip(
            lambda f, x, a, b: (b - a) * (f(x, a) + f(x + (b - a) * f(x, a), b)) / 2,
            "That is the way to go, without the place where it begins: add it to x.",
            "这只是要走的位移，缺了起点：还要加上 x。",
        ),
        Slip(
            lambda f, x, a, b: x + (b - a) * (f(x, a) + f(x + f(x, a), b)) / 2,
            "The trial goes too far: Euler's step is (sigma_next - sigma) times the slope, not the slope itself.",
            "试探步走得太远：欧拉步是 (sigma_next - sigma) 乘斜率，而不是斜率本身。",
        ),
    )
    compare(step, heun_step, cases, slips)
    return Right(
        "By hand, for slope x·σ from x = 1, σ = 2 to 1: slopes 2 and -1·1, mean ½, so x becomes 1 - ½ = ½.",
        "手算：斜率 x·σ，从 x = 1、σ = 2 到 1：两个斜率是 2 和 -1·1，平均 ½，x 变成 1 - ½ = ½。",
    )


def _slope(formula: Slope) -> Slope:
    """A formula under the name by which the learner calls it, which Python shows if the call is wrong."""

    def slope(x: Tensor, sigma: float) -> Tensor:
        return formula(x, sigma)

    return slope


def order_of(steps: int, error: float, more_steps: int, smaller_error: float) -> float:
    """p of error ∝ 1/stepsᵖ, from two measurements."""
    return log(error / smaller_error) / log(more_steps / steps)


@exercise(
    lambda: order_of,
    "error / smaller_error = (more_steps / steps)ᵖ; take logarithms of both sides.",
    "error / smaller_error = (more_steps / steps)ᵖ；两边取对数。",
)
def check_order(order: Callable[[int, float, int, float], float]) -> Right:
    """Whether `order(steps, error, more_steps, smaller_error)` is the order of convergence.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    cases = ((10, 0.08, 20, 0.04), (10, 0.08, 20, 0.02), (5, 0.9, 15, 0.1), (20, 0.16, 40, 0.02))
    slips = (
        Slip(
            lambda n, e, m, f: e / f,
            "That is how many times smaller the error got. The order is the power: take logarithms.",
            "这是误差缩小的倍数。阶是幂次：要取对数。",
        ),
        Slip(
            lambda n, e, m, f: log(e / f),
            "Divide by the logarithm of how many times more steps were taken.",
            "还要除以步数增加倍数的对数。",
        ),
        Slip(
            lambda n, e, m, f: log2(e / f),
            "That is right when the steps double. Here they may also triple: divide by log(more_steps/steps).",
            "步数翻倍时是对的。这里也可能变成三倍：请除以 log(more_steps/steps)。",
        ),
        Slip(
            lambda n, e, m, f: -log(e / f) / log(m / n),
            "The sign: the order of a method that works is positive.",
            "符号不对：有效的方法，阶是正数。",
        ),
        Slip(
            lambda n, e, m, f: (e - f) / (m - n),
            "A difference depends on the unit of the error; the order is about ratios, so logarithms.",
            "差值取决于误差的单位；阶说的是比值，所以用对数。",
        ),
        Slip(
            lambda n, e, m, f: (e / f) / (m / n),
            "A power is not a ratio of ratios: log(error ratio)/log(steps ratio).",
            "幂次不是两个倍数相除：应为 log(误差之比)/log(步数之比)。",
        ),
    )
    compare(order, order_of, cases, slips)
    return Right(
        "By hand: twice the steps and a quarter of the error is order log 4/log 2 = 2.",
        "手算：步数翻倍、误差变成四分之一，阶就是 log 4/log 2 = 2。",
    )


def leading_start(num_train_timesteps: int, num_inference_steps: int) -> int:
    """The first timestep of "leading" spacing with offset 1, as Kolors ships it."""
    return (num_inference_steps - 1) * (num_train_timesteps // num_inference_steps) + 1


@exercise(
    lambda: leading_start,
    "the timesteps are multiples of T // N, from 0 on, N of them, and each has 1 added; the noisiest comes first.",
    "时间步是 T // N 的倍数，从 0 开始共 N 个，每个再加 1；最嘈杂的那个最先。",
)
def check_leading_start(start: Callable[[int, int], int]) -> Right:
    """Whether `start(num_train_timesteps, num_inference_steps)` is where sampling begins.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    cases = ((1100, 50), (1100, 30), (1000, 25), (1100, 7))
    slips = (
        Slip(
            lambda T, N: T - 1,
            'That is the last timestep of the training, where "trailing" starts. "leading" never gets there.',
            "这是训练的最后一个时间步，是 “trailing” 的起点。“leading” 到不了那里。",
        ),
        Slip(
            lambda T, N: (N - 1) * (T // N),
            "The offset is missing: Kolors ships steps_offset 1.",
            "漏了偏移：可图的设置是 steps_offset 1。",
        ),
        Slip(
            lambda T, N: N * (T // N) + 1,
            "N points have N - 1 gaps between them: the first multiple is 0.",
            "N 个点之间有 N - 1 个间隔：第一个倍数是 0。",
        ),
        Slip(
            lambda T, N: N * (T // N),
            "N points have N - 1 gaps between them: the first multiple is 0. And the offset is missing.",
            "N 个点之间有 N - 1 个间隔：第一个倍数是 0。另外还漏了偏移。",
        ),
        Slip(
            lambda T, N: (N - 1) * (T / N) + 1,
            "The gap is a whole number, T // N: what is left over is lost at the noisy end.",
            "间隔是整数 T // N：除不尽的部分，丢在噪声最大的一端。",
        ),
        Slip(
            lambda T, N: round((N - 1) * (T / N)) + 1,
            "The gap itself is rounded down, T // N, before it is multiplied.",
            "先把间隔向下取整成 T // N，再相乘。",
        ),
        Slip(
            lambda T, N: T - T // N + 1,
            "That is right only where N divides T. Count from 0 upwards: N - 1 gaps of T // N.",
            "只有 N 能整除 T 时才对。请从 0 往上数：N - 1 个 T // N 的间隔。",
        ),
    )
    compare(start, leading_start, cases, slips)
    return Right(
        "By hand: 1100 // 50 = 22, and 49 x 22 + 1 = 1079: the last 20 timesteps are never visited.",
        "手算：1100 // 50 = 22，49 × 22 + 1 = 1079：最后 20 个时间步从未用到。",
    )
