"""Exercises of notebook 13: a Wilson interval, the unbiased KID, and the verdict on a session of choices."""

from math import sqrt

import torch
from torch import Tensor

from kolors_course.evaluation import kernel_distance, sign_test, wilson
from kolors_course.evaluation.intervals import Z
from kolors_course.exercises.answers import number_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.exercises.formulas import Slip, compare

LEVEL = 0.05  # of p, below which a difference is called more than chance


def wilson_ends(right: int, count: int) -> Tensor:
    """The low and the high end of `wilson`: (2,)."""
    found = wilson(right, count)
    return torch.tensor([found.low, found.high], dtype=torch.float64)


def _normal_ends(right: int, count: int) -> Tensor:
    share = right / count
    arm = Z * sqrt(share * (1 - share) / count)
    return torch.tensor([share - arm, share + arm], dtype=torch.float64)


def _unmoved_ends(right: int, count: int) -> Tensor:
    low, high = wilson_ends(right, count)
    return right / count + torch.stack([low - high, high - low]) / 2


def _undivided_ends(right: int, count: int) -> Tensor:
    return wilson_ends(right, count) * (1 + Z**2 / count)


@exercise(
    lambda: wilson_ends,
    "the middle moves towards 1/2 by z²/2n, and everything is divided by 1 + z²/n",
    "中点向 1/2 移动 z²/2n，最后整体除以 1 + z²/n",
)
def check_wilson(ends: object) -> Right:
    """Whether `ends(right, count)` gives the two ends of the 95 % Wilson interval, as a tensor of two.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    cases = ((9, 10), (30, 60), (1, 24), (118, 120))
    slips = (
        Slip(
            _normal_ends,
            "That is p ± 1.96 √(p(1−p)/n). For 9 of 10 it reaches above 1, and for 10 of 10 it has no width.",
            "这是 p ± 1.96 √(p(1−p)/n)。10 中 9 时上端超过 1，10 中 10 时宽度为 0。",
        ),
        Slip(
            _unmoved_ends,
            "The width is right, but it stands around p. The middle is (p + z²/2n) / (1 + z²/n).",
            "宽度对了，但中点不该是 p，而是 (p + z²/2n) / (1 + z²/n)。",
        ),
        Slip(
            _undivided_ends,
            "Both ends are to be divided by 1 + z²/n.",
            "两端都还要除以 1 + z²/n。",
        ),
    )
    compare(ends, wilson_ends, cases, slips)
    return Right(
        "It never leaves 0 to 1, and 10 of 10 is not certainty.",
        "它不会超出 0 到 1；10 中 10 也不等于百分之百。",
    )


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _biased(one: Tensor, two: Tensor) -> Tensor:
    return _cubic(one, one).mean() + _cubic(two, two).mean() - 2 * _cubic(one, two).mean()


def _once(one: Tensor, two: Tensor) -> Tensor:
    return _cubic(one, two).mean() + kernel_distance(one, two)


def _undivided(one: Tensor, two: Tensor) -> Tensor:
    own = sum(
        (k.sum() - k.trace()) / (len(k) * (len(k) - 1))
        for k in ((one @ one.T + 1) ** 3, (two @ two.T + 1) ** 3)
    )
    return own - 2 * ((one @ two.T + 1) ** 3).mean()


@exercise(
    lambda: kernel_distance,
    "leave the diagonal out of k(x, x) and of k(y, y): their means are over n(n − 1) pairs",
    "k(x, x) 与 k(y, y) 要去掉对角线：对 n(n − 1) 对取平均",
)
def check_kid(kid: object) -> Right:
    """Whether `kid(one, two)` is the unbiased KID of two clouds (N, d) and (M, d).

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    generator = torch.Generator().manual_seed(0)
    cases = [
        tuple(torch.randn(n, d, generator=generator, dtype=torch.float64) + shift for n, shift in pair)
        for d, pair in ((4, ((7, 0.0), (5, 1.0))), (8, ((6, 0.0), (9, 0.5))))
    ]
    slips = (
        Slip(
            _biased,
            "A point with itself is counted too, which is why two samples of one distribution are not 0 on the "
            "average. Leave the diagonals out.",
            "把点与自己也算进去了，所以同一分布的两份样本平均不为 0。请去掉对角线。",
        ),
        Slip(
            _once,
            "The mean of k(x, y) is taken away twice: it stands for k(x, y) and for k(y, x).",
            "k(x, y) 的平均要减两次：它同时代表 k(x, y) 和 k(y, x)。",
        ),
        Slip(
            _undivided,
            "The kernel is (x·y/d + 1)³: divide by the number of features.",
            "核是 (x·y/d + 1)³：要除以特征数 d。",
        ),
    )
    compare(kid, kernel_distance, cases, slips)
    return Right(
        "Unbiased, so it is 0 on the average for two samples of one distribution, and below 0 half of the time.",
        "无偏：同一分布的两份样本平均为 0，大约一半时候还会小于 0。",
    )


def fewest_wins(count: int) -> int:
    """The fewest of `count` choices (more than half of them) that chance alone would not explain; 0 if none do."""
    more = range(count // 2 + 1, count + 1)
    return next((wins for wins in more if sign_test(wins, count) < LEVEL), 0)


@exercise(
    fewest_wins,
    "try sign_test(wins, count) for more and more wins until it is below 0.05",
    "用 sign_test(wins, count) 从一半往上试，直到小于 0.05",
)
def check_fewest_wins(answer: object, count: int) -> Right:
    """Whether `answer` is the fewest wins of `count` choices that are significant (two-sided, 5 %).

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    answer, right = number_of(answer), fewest_wins(count)
    if answer == right:
        chance, less = sign_test(right, count), sign_test(right - 1, count)
        return Right(
            f"{right} of {count}: p = {chance:.3f}; one less has {less:.3f}.",
            f"{count} 次中 {right} 次：p = {chance:.3f}；少一次就是 {less:.3f}。",
        )
    if answer % 1 or not 0 <= answer <= count:
        raise Mistake(
            f"Wins are a whole number from 0 to {count}.", f"胜出次数应是 0 到 {count} 之间的整数。"
        )
    chance = sign_test(int(answer), count)
    if answer > right:
        raise Mistake(
            f"{answer:g} of {count} is more than chance (p = {chance:.3f}), but fewer would do.",
            f"{count} 次中 {answer:g} 次确实显著（p = {chance:.3f}），但不必这么多。",
        )
    if answer > count / 2 and chance < 2 * LEVEL:
        raise Mistake(
            f"p = {chance:.3f} there. Half of it is below 0.05: count both sides, since before the session you did "
            "not know which model would win.",
            f"此时 p = {chance:.3f}，单侧才小于 0.05。事先不知道谁会赢，所以要算双侧。",
        )
    raise Mistake(
        f"{answer:g} of {count} happens by chance: p = {chance:.3f}.",
        f"{count} 次中 {answer:g} 次很可能只是偶然：p = {chance:.3f}。",
    )
