"""Exact tests of pairs against binomial sums, and strengths against closed forms."""

from math import comb

import pytest

from kolors_course.errors import CourseError
from kolors_course.evaluation import McNemar, bradley_terry, clopper_pearson, mcnemar, sign_test


def test_mcnemar_counts_only_what_differs():
    first = [True] * 10 + [True] * 9 + [False] * 1 + [False] * 4
    second = [True] * 10 + [False] * 9 + [True] * 1 + [False] * 4
    assert mcnemar(first, second) == McNemar(9, 1, pytest.approx(2 * (comb(10, 0) + comb(10, 1)) / 2**10))
    assert mcnemar([True], [True]) == McNemar(0, 0, 1.0)
    with pytest.raises(ValueError, match="shorter"):
        mcnemar([True], [])


@pytest.mark.parametrize(("wins", "count"), [(9, 10), (15, 20), (27, 40), (61, 100)])
def test_what_is_just_significant(wins, count):
    tail = sum(comb(count, i) for i in range(wins, count + 1)) / 2**count
    assert sign_test(wins, count) == pytest.approx(2 * tail)
    assert sign_test(wins, count) < 0.05 < sign_test(wins - 1, count)
    assert sign_test(count - wins, count) == pytest.approx(sign_test(wins, count))


def test_no_votes_say_nothing():
    assert sign_test(0, 0) == 1.0
    with pytest.raises(ValueError, match="k"):
        sign_test(3, 2)


def test_clopper_pearson_at_the_ends_and_in_the_middle():
    none = clopper_pearson(0, 20)
    assert (none.value, none.low, none.high) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    # At each end of the interval the tail beyond what was seen has 2.5 %.
    found = clopper_pearson(13, 40)
    for share, counts in ((found.low, range(13, 41)), (found.high, range(14))):
        tail = sum(comb(40, i) * share**i * (1 - share) ** (40 - i) for i in counts)
        assert tail == pytest.approx(0.025)


def test_two_players_are_their_shares():
    assert bradley_terry([[0, 3], [1, 0]]) == pytest.approx([0.75, 0.25])
    assert bradley_terry([[0]]) == [1.0]


def test_votes_that_fit_exactly_give_their_strengths_back():
    strengths = [0.5, 0.3, 0.15, 0.05]
    wins = [
        [0 if i == j else 100 * p / (p + q) for j, q in enumerate(strengths)] for i, p in enumerate(strengths)
    ]
    assert bradley_terry(wins) == pytest.approx(strengths, abs=1e-6)


def test_players_that_never_meet_are_compared_through_a_third():
    # a : b is 3 : 1 and b : c is 2 : 1, so a : b : c is 6 : 2 : 1.
    assert bradley_terry([[0, 3, 0], [1, 0, 2], [0, 1, 0]]) == pytest.approx([6 / 9, 2 / 9, 1 / 9], abs=1e-6)


@pytest.mark.parametrize("wins", [[[0, 3], [0, 0]], [[0, 0], [0, 0]], [[0, 1, 0], [1, 0, 0], [0, 0, 0]]])
def test_votes_without_finite_strengths_are_refused(wins):
    with pytest.raises(CourseError, match="no finite strengths"):
        bradley_terry(wins)


@pytest.mark.parametrize("wins", [[[0, -1], [1, 0]], [[0, 1]], [[0, float("nan")], [1, 0]]])
def test_what_is_no_table_of_wins_is_refused(wins):
    with pytest.raises(ValueError, match="wins"):
        bradley_terry(wins)
