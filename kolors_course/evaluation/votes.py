"""Statistics of pairs: the same prompt drawn by two models, and people who choose one of two pictures.

All exact: with a few dozen pairs, approximations by normal distributions are wrong where it matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest

from kolors_course.errors import CourseError
from kolors_course.evaluation.intervals import Interval

ROUNDS, TOLERANCE = 10_000, 1e-10  # of the fixed point below


@dataclass(frozen=True)
class McNemar:
    """The same prompts under two conditions.

    Attributes:
        only_first, only_second: prompts that only one of both gets right. The others say nothing about which is
            better.
        p: how likely such a difference, or a greater, is by chance.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's test, exact: without a difference, each of the unequal pairs falls to either side with 1/2
    (Q. McNemar, Psychometrika 12, 1947).

    Raises:
        ValueError: they are not equally many.
    """
    pairs = list(zip(first, second, strict=True))
    one, two = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    return McNemar(one, two, sign_test(one, one + two))


def sign_test(wins: int, count: int) -> float:
    """How likely `wins` of `count` choices, or as unlikely a number, are if both sides are equal; two-sided.

    Ties are left out of `count`, or are half a win by a rule made beforehand.

    Raises:
        ValueError: `wins` is not from 0 to `count`.
    """
    if count == 0 == wins:
        return 1.0
    return float(binomtest(wins, count, 0.5).pvalue)


def clopper_pearson(right: int, count: int) -> Interval:
    """A share and its exact 95 % interval (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934).

    It holds the truth at least as often as it says, so it is wider than `wilson`.

    Raises:
        ValueError: `count` is not above 0, or `right` not from 0 to it.
    """
    found = binomtest(right, count).proportion_ci(0.95, method="exact")
    return Interval(right / count, float(found.low), float(found.high), count)


def bradley_terry(wins: Sequence[Sequence[float]]) -> list[float]:
    """Strengths p of n players with P(i beats j) = p_i / (p_i + p_j), of sum 1, that make the votes likeliest.

    The fixed point p_i = W_i / Σ_j n_ij/(p_i + p_j), where W_i are the wins of i and n_ij the games of i and j
    (D. R. Hunter, Ann. Statist. 32, 2004, eq. 3).

    Args:
        wins: n rows of n: `wins[i][j]`, how often i was chosen over j; half a win for a tie.

    Raises:
        CourseError: no finite strengths exist: some players, taken together, never lost to (or never met) the rest.
        ValueError: no square table of numbers of at least 0.
    """
    table = np.asarray(wins, float)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size:
        raise ValueError(f"{table.shape}: a square table of wins is needed")
    if not np.isfinite(table).all() or (table < 0).any():
        raise ValueError("wins are numbers of at least 0")
    table = table * (1 - np.eye(len(table)))  # nobody plays against himself
    if connected_components(table, directed=True, connection="strong", return_labels=False) > 1:
        raise CourseError(
            "these votes set no finite strengths: some never lost to the rest, or never met them; ask for more votes"
        )
    games, strengths = table + table.T, np.full(len(table), 1 / len(table))
    for _ in range(ROUNDS):
        shares = games / (strengths[:, None] + strengths)
        better = table.sum(1) / shares.sum(1) if len(table) > 1 else strengths
        better /= better.sum()
        if np.abs(better - strengths).max() < TOLERANCE:
            break
        strengths = better
    return better.tolist()
