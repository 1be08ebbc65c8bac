"""Intervals of shares and means, and variety over seeds."""

import numpy as np
import pytest
from PIL import Image

from kolors_course.art import Scene, find_subject, render
from kolors_course.errors import CourseError
from kolors_course.evaluation import mean_interval, spread, variety, wilson


# R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(right, count, low, high):
    interval = wilson(right, count)
    assert (interval.value, interval.count) == (right / count, count)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(count - right, count)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize("count", [1, 7, 200])
def test_the_ends_hold_the_share(count):
    assert wilson(0, count).low == 0.0 < wilson(0, count).high
    assert wilson(count, count).high == 1.0 > wilson(count, count).low


@pytest.mark.parametrize(("right", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_no_share_is_refused(right, count):
    with pytest.raises(ValueError, match="is no share"):
        wilson(right, count)


def test_a_mean_and_its_standard_error():
    interval = mean_interval([1.0, 2.0, 3.0, 4.0])
    arm = 1.959964 * np.std([1, 2, 3, 4], ddof=1) / 2
    assert (interval.value, interval.low, interval.high) == pytest.approx((2.5, 2.5 - arm, 2.5 + arm))
    assert mean_interval([0.5]) == mean_interval([0.5])
    assert (mean_interval([0.5]).low, mean_interval([0.5]).high) == (0.5, 0.5)


def test_spread_by_hand():
    grey = [Image.new("RGB", (64, 64), (value,) * 3) for value in (0, 51, 255)]
    assert spread(grey) == pytest.approx((0.2 + 1.0 + 0.8) / 3)
    with pytest.raises(CourseError, match="at least 2, not 1"):
        spread(grey[:1])


def test_fine_noise_hardly_counts():
    rng = np.random.default_rng(0)
    noisy = [Image.fromarray(rng.integers(0, 256, (128, 128, 3), np.uint8)) for _ in range(3)]
    assert spread(noisy) < 0.12  # single pixels differ by 0.41


def test_the_world_has_a_variety_of_one_and_copies_of_none():
    scenes = [
        Scene((find_subject("cat"),), "snow", "night", seed=5),
        Scene((find_subject("dog"),), "room", "day"),
    ]
    worlds = [[render(Scene(s.subjects, s.place, s.time, seed=s.seed + i)) for i in range(3)] for s in scenes]
    assert variety(scenes, worlds) == pytest.approx(1.0)
    assert variety(scenes, [[pictures[0]] * 3 for pictures in worlds]) == 0.0
    ink = [
        [render(Scene(s.subjects, s.place, s.time, seed=s.seed + i), 128, "ink") for i in range(3)]
        for s in scenes
    ]
    assert variety(scenes, ink, "ink") == pytest.approx(1.0)
