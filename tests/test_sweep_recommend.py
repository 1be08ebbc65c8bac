"""The rule that chooses, on tables made up for it."""

import pytest

from kolors_course.errors import CourseError
from kolors_course.evaluation import Interval, wilson
from kolors_course.sweep import Contender, Measured, contenders_of, recommend


def row(calls, **values):
    """Each value has an interval of ± 0.1."""
    return Contender(
        calls, {name: Interval(value, value - 0.1, value + 0.1, 50) for name, value in values.items()}
    )


def test_the_cheapest_within_the_interval_of_the_best_is_chosen():
    rows = [row(50, place=0.95), row(12, place=0.86), row(6, place=0.84), row(4, place=0.5)]
    choice = recommend(rows)
    assert choice.chosen == 1
    assert choice.shortfalls == pytest.approx((0, 0.9, 1.1, 4.5))
    assert (choice.limit, choice.good_enough, choice.ranking) == (1.0, (0, 1), (1, 0, 2, 3))


def test_the_end_of_the_interval_is_still_within():
    assert recommend([row(50, place=0.9), row(12, place=0.8)]).chosen == 1


def test_every_quantity_counts_and_each_has_its_own_best_row():
    rows = [
        row(50, place=0.95, subject=0.8),
        row(12, place=0.95, subject=0.6),
        row(8, place=0.9, subject=0.75),
    ]
    assert recommend(rows).shortfalls == pytest.approx((0, 2, 0.5))
    assert recommend(rows).chosen == 2


def test_it_is_the_interval_of_the_best_that_counts_not_the_rows_own():
    wide = Contender(4, {"place": Interval(0.8, 0.3, 1.0, 5)})
    assert recommend([row(50, place=0.95), wide]).chosen == 0


def test_equal_calls_go_to_the_smaller_sum_of_shortfalls_then_to_the_first():
    rows = [
        row(12, a=0.95, b=0.88),
        row(12, a=0.93, b=0.93),
        row(50, a=0.95, b=0.95),
        row(12, a=0.93, b=0.93),
    ]
    assert recommend(rows).chosen == 1


def test_variety_and_seconds_have_no_vote():
    fast = Measured(2, 12, 0.1, {"place": 2}, {"place": 2}, (0.7, 0.9), variety=0.1)
    slow = Measured(2, 10, 9.9, {"place": 2}, {"place": 2}, (0.7, 0.9), variety=0.1)
    varied = Measured(2, 20, 0.1, {"place": 2}, {"place": 2}, (0.7, 0.9), variety=0.9)
    assert recommend(contenders_of([fast, slow, varied])).chosen == 1


def test_where_none_is_good_in_everything_the_least_short_are_compared():
    rows = [row(50, a=0.9, b=0.5), row(40, a=0.5, b=0.9), row(60, a=0.65, b=0.66), row(30, a=0.1, b=0.1)]
    choice = recommend(rows)
    assert choice.limit == pytest.approx(2.5)
    # Of the two that are equally short the cheaper stands first.
    assert (choice.good_enough, choice.ranking) == ((2,), (2, 1, 0, 3))


def test_a_share_of_one_still_leaves_room():
    """200 of 200 right could be 98 % in truth."""
    rows = [
        Contender(50, {"place": wilson(200, 200)}),
        Contender(12, {"place": wilson(197, 200)}),
        Contender(4, {"place": wilson(195, 200)}),
    ]
    assert recommend(rows).chosen == 1


def test_rows_hold_what_was_measured():
    (only,) = contenders_of(
        [Measured(3, 12, 0.1, {"place": 2, "time": 1}, {"place": 3, "time": 1}, (0.5, 0.6, 0.7))]
    )
    assert only.calls == 12
    assert only.quantities["place"] == wilson(2, 3)
    assert only.quantities["shape fidelity"].value == pytest.approx(0.6)


def test_what_cannot_be_compared_is_refused():
    for rows in ([], [Contender(1, {})], [row(1, a=0.5), row(2, b=0.5)]):
        with pytest.raises(CourseError, match="nothing to choose by"):
            recommend(rows)
