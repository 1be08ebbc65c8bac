"""Choosing: the cheapest settings that are not worse than the best.

Of every quantity (each fact, style, shape fidelity) the grid has a best row, with an interval of 95 %. A row's
*shortfall* in a quantity is how far it stays behind that best value, in units of the distance from the best value
down to the low end of its interval: 0 is as good, up to 1 lies within the interval. A row's shortfall is its largest.

1. Rows with a shortfall of at most 1 are good enough. If there is none, because no row is good in everything, then
   those with the smallest are.
2. Of these the one with the fewest network calls is chosen; among equally many the one with the smallest sum of
   shortfalls over all quantities, then the first of the grid.

Variety has no vote: it is the largest where prompts are followed least. It stands in the table for people to see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kolors_course.errors import CourseError
from kolors_course.evaluation.intervals import Interval, mean_interval, wilson
from kolors_course.sweep.measure import Measured

FIDELITY = "shape fidelity"
ROUNDING = 1e-9  # shortfalls that differ by less are equal


@dataclass(frozen=True)
class Contender:
    """Settings as far as choosing sees them: network calls of a picture, and what was measured, by quantity."""

    calls: float
    quantities: Mapping[str, Interval]


@dataclass(frozen=True)
class Recommendation:
    """What the rule says of every row; see the module.

    Attributes:
        ranking: all rows by their numbers, the chosen one first: those that are good enough as the rule compares
            them, then the others by their shortfall.
        shortfalls: the largest of every row.
        limit: up to which a row is good enough.
    """

    ranking: tuple[int, ...]
    shortfalls: tuple[float, ...]
    limit: float

    @property
    def chosen(self) -> int:
        return self.ranking[0]

    @property
    def good_enough(self) -> tuple[int, ...]:
        return tuple(i for i, value in enumerate(self.shortfalls) if value <= self.limit + ROUNDING)


def quantities_of(measured: Measured) -> dict[str, Interval]:
    """Shares of right answers by question, and the mean shape fidelity, each with its interval."""
    found = {question: wilson(measured.right[question], count) for question, count in measured.asked.items()}
    if measured.fidelity:
        found[FIDELITY] = mean_interval(measured.fidelity)
    return found


def contenders_of(cells: Sequence[Measured]) -> list[Contender]:
    return [Contender(measured.calls, quantities_of(measured)) for measured in cells]


def recommend(rows: Sequence[Contender]) -> Recommendation:
    """Choose a row as the module says.

    Raises:
        CourseError: there are no rows, nothing was measured, or not the same of all.
    """
    names = {frozenset(row.quantities) for row in rows}
    if len(names) != 1 or not (quantities := next(iter(names))):
        raise CourseError("nothing to choose by: every row needs the same measured quantities")
    short = [
        [_shortfall(row.quantities[name], best) for name, best in _best(rows, quantities)] for row in rows
    ]
    largest = [max(values) for values in short]
    limit = max(1.0, min(largest))

    def place(i: int) -> tuple[float, ...]:
        if largest[i] > limit + ROUNDING:
            return (1, largest[i], rows[i].calls, i)
        return (0, rows[i].calls, round(sum(short[i]) / ROUNDING), i)

    return Recommendation(tuple(sorted(range(len(rows)), key=place)), tuple(largest), limit)


def _best(rows: Sequence[Contender], quantities: frozenset[str]) -> list[tuple[str, Interval]]:
    return [
        (name, max((row.quantities[name] for row in rows), key=lambda interval: interval.value))
        for name in sorted(quantities)
    ]


def _shortfall(interval: Interval, best: Interval) -> float:
    behind, arm = best.value - interval.value, best.value - best.low
    if behind <= 0:
        return 0.0
    return behind / arm if arm > 0 else float("inf")
