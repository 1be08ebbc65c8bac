"""Numbers on the command line: what each type takes, and what it says about the rest."""

import argparse

import pytest

from kolors_course.cli.flags.numbers import COUNT, number, size
from kolors_course.ranges import POSITIVE, SEED, SHARE, Range, whole

NONSENSE = ("", " ", "x", "nan", "inf", "-inf", "1e999", "0x10", "1,5", "9" * 5000, "½", "None", "1" * 10**5)
KINDS = {
    "count": number(COUNT),
    "positive": number(POSITIVE),
    "seed": number(SEED),
    "share": number(SHARE),
    "size": size,
}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (number(whole(1, 9)), "9", 9),
        (number(COUNT), "1000000", 1000000),
        (number(SEED), str(2**32 - 1), 2**32 - 1),
        (number(Range(-1, 1)), "-1e-4", -1e-4),
        (number(SHARE), "0", 0.0),
        (number(POSITIVE), "2", 2.0),
        (size, "64X48", (64, 48)),
        (size, "64×48", (64, 48)),
    ],
)
def test_what_is_taken(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:5])
def test_nonsense_is_refused_in_a_short_line(kind, text):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        KINDS[kind](text)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (number(whole(1, 9)), "0", "must be a whole number from 1 to 9, not 0"),
        (number(whole(1, 9)), "10", "from 1 to 9"),
        (number(COUNT), "9999999999", "from 1 to 1,000,000"),
        (number(COUNT), "1.5", "whole number"),
        (number(SEED), "-1", "from 0 to 4,294,967,295"),
        (number(POSITIVE), "0", "must be a number above 0 and at most 1,000,000, not 0"),
        (number(SHARE), "1.01", "from 0 to 1"),
        (size, "64", "width x height in pixels, each a whole number from 1 to 65,536, such as 64x64, not 64"),
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
