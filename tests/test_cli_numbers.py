"""Numbers on the command line: what each type takes, and what it says about the rest."""

import argparse

import pytest

from kolors_course.cli.flags.numbers import fraction, number, positive_whole, seed, size, whole

NONSENSE = ("", " ", "x", "nan", "inf", "-inf", "1e999", "0x10", "1,5", "9" * 5000, "½", "None", "1" * 10**5)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole(1, 9), "9", 9),
        (positive_whole, "1000000", 1000000),
        (seed, str(2**32 - 1), 2**32 - 1),
        (number(), "-1e-4", -1e-4),
        (number(0), "0", 0.0),
        (number(above=0, high=2), "2", 2.0),
        (fraction, "0.5", 0.5),
        (size, "64X48", (64, 48)),
        (size, "64×48", (64, 48)),
    ],
)
def test_what_is_taken(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize("kind", [whole(1, 9), positive_whole, seed, number(), number(0), fraction, size])
@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:5])
def test_nonsense_is_refused_in_a_short_line(kind, text):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        kind(text)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (whole(1, 9), "0", "give a whole number from 1 to 9, not '0'"),
        (whole(1, 9), "10", "from 1 to 9"),
        (positive_whole, "9999999999", "from 1 to 1000000"),
        (positive_whole, "1.5", "whole number"),
        (seed, "-1", "from 0 to 4294967295"),
        (number(0), "-1", "give a finite number from 0, not '-1'"),
        (number(above=0, high=2), "0", "give a finite number above 0 up to 2, not '0'"),
        (number(above=0, high=2), "2.1", "up to 2"),
        (fraction, "1.01", "from 0 up to 1"),
        (size, "64", "width x height in pixels, such as 64x64, not '64'"),
        (size, "64x0", "width x height"),
        (size, "100000x100000", "width x height"),
        (size, "64x64x64", "width x height"),
        (size, "-64x64", "width x height"),
    ],
)
def test_what_is_outside_is_refused_with_the_range(kind, text, said):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        kind(text)
    assert said in str(caught.value)
