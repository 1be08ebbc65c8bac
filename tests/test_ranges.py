"""Which numbers a range holds, and how it is told."""

import pytest

from kolors_course.errors import CourseError
from kolors_course.ranges import Range, whole


def test_ends_belong_or_do_not():
    assert all(value in Range(0, 1) for value in (0, 1, 0.5))
    assert 0 not in Range(0, 1, above=True)
    assert 1 not in Range(0, 1, below=True)
    assert all(value in whole(1, 3) for value in (1, 2, 3))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 10**400, -1, 2, None, "1", True, 1j]
)
def test_nothing_else_lies_in_a_range(value):
    assert value not in Range(0, 1.5)
    assert value not in whole(0, 1)


def test_whole_numbers_are_no_fractions():
    assert 1.0 not in whole(0, 2)


def test_a_range_says_itself_and_long_values_are_cut():
    assert str(whole(1, 10_000)) == "a whole number from 1 to 10,000"
    assert str(Range(0, 1, above=True)) == "a number above 0 and at most 1"
    assert str(Range(0, 1, below=True)) == "a number of at least 0 and below 1"
    with pytest.raises(CourseError, match="^rank must be a whole number from 1 to 4, not 999") as caught:
        whole(1, 4).check("rank", int("9" * 1000))
    assert len(str(caught.value)) < 100
