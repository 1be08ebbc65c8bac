"""The exercises of notebook 13: right answers pass, and each likely mistake gets its own explanation."""

import re
from math import sqrt

import pytest
import torch

from kolors_course.evaluation import kernel_distance, sign_test, wilson
from kolors_course.exercises import Right, measuring


def by_hand(right, count):
    """Wilson's interval as the two roots of (p − x)² = z² x(1 − x)/n."""
    z, p = 1.959964, right / count
    a, b, c = 1 + z * z / count, -(2 * p + z * z / count), p * p
    root = sqrt(b * b - 4 * a * c)
    return torch.tensor([-b - root, -b + root]) / (2 * a)


def test_the_roots_of_the_score_equation_pass():
    assert isinstance(measuring.check_wilson.reply(by_hand), Right)


def unmoved(right, count):
    low, high = by_hand(right, count).tolist()
    return torch.tensor([right / count - (high - low) / 2, right / count + (high - low) / 2])


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (
            lambda k, n: (
                k / n
                + 1.959964 * sqrt(k / n * (1 - k / n) / n) * torch.tensor([-1.0, 1.0], dtype=torch.float64)
            ),
            "reaches above 1",
        ),
        (unmoved, "stands around p"),
        (lambda k, n: by_hand(k, n) * (1 + 1.959964**2 / n), "divided by 1"),
        (lambda k, n: wilson(k, n).low, "shape"),
    ],
)
def test_wrong_intervals_are_explained(ends, message):
    assert re.search(message, measuring.check_wilson.reply(ends))


def kid_by_pairs(one, two):
    """Every pair of different points, one by one."""

    def k(x, y):
        return (x @ y / len(x) + 1) ** 3

    def within(points):
        pairs = [k(points[i], points[j]) for i in range(len(points)) for j in range(len(points)) if i != j]
        return sum(pairs) / len(pairs)

    return within(one) + within(two) - 2 * sum(k(x, y) for x in one for y in two) / (len(one) * len(two))


def test_kid_pair_by_pair_passes():
    assert isinstance(measuring.check_kid.reply(kid_by_pairs), Right)


def means(one, two, times=2, divide=True):
    def k(x, y):
        return (x @ y.T / (x.shape[1] if divide else 1) + 1) ** 3

    return k(one, one), k(two, two), times * k(one, two).mean()


@pytest.mark.parametrize(
    ("kid", "message"),
    [
        (lambda one, two: (lambda a, b, c: a.mean() + b.mean() - c)(*means(one, two)), "with itself"),
        (lambda one, two: kernel_distance(one, two) + means(one, two, 1)[2], "twice"),
        (
            lambda one, two: (
                lambda a, b, c: sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (a, b)) - c
            )(*means(one, two, divide=False)),
            "number of features",
        ),
        (lambda one, two: one @ two.T, "shape"),
    ],
)
def test_wrong_kids_are_explained(kid, message):
    assert re.search(message, measuring.check_kid.reply(kid))


@pytest.mark.parametrize(("count", "wins"), [(10, 9), (20, 15), (40, 27), (100, 61)])
def test_the_fewest_wins(count, wins):
    assert measuring.fewest_wins(count) == wins
    assert isinstance(measuring.check_fewest_wins.reply(wins, count=count), Right)
    assert sign_test(wins - 1, count) > 0.05


def test_five_choices_can_never_be_enough():
    assert measuring.fewest_wins(5) == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (26, "count both sides"),
        (30, "fewer would do"),
        (22, "by chance"),
        (41, "whole number"),
        ("27", "not a number"),
    ],
)
def test_wrong_numbers_of_wins_are_explained(answer, message):
    assert re.search(message, measuring.check_fewest_wins.reply(answer, count=40))
