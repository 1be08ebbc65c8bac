"""Scenes: what they may say, and that drawing them is repeatable."""

from collections import Counter

import numpy as np
import pytest

from kolors_course.art import (
    BASE_STYLE,
    PLACES,
    STYLES,
    TIMELESS,
    TIMES,
    Scene,
    find_subject,
    lay_out,
    random_scene,
    render,
)
from kolors_course.art.scene import place_box
from kolors_course.art.subject import sprite
from kolors_course.errors import CourseError

RABBIT, CAT = find_subject("rabbit"), find_subject("cat")
SETTINGS = [(place, time) for place in PLACES for time in ((TIMELESS,) if place == "space" else TIMES)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"place": "moon"}, "scene: place 'moon' is not one of meadow, snow, .*room"),
        ({"time": "noon"}, "scene: time 'noon' is not one of day, night, dusk, timeless"),
        ({"size": "huge"}, "scene: size 'huge' is not one of small, normal, big"),
        ({"position": "centre"}, "scene: position 'centre' is not one of left, middle, right"),
        ({"time": "timeless"}, "only place 'space' goes with time 'timeless'"),
        ({"place": "space"}, "only place 'space' goes with time 'timeless'"),
        ({"subjects": ()}, "one or two subjects, not 0"),
        ({"subjects": (RABBIT, CAT, RABBIT)}, "one or two subjects, not 3"),
        ({"subjects": (RABBIT, RABBIT)}, "both 'rabbit'; name two different ones"),
        ({"subjects": (RABBIT, CAT), "size": "big"}, "normal size; leave size and position out"),
        ({"subjects": (RABBIT, CAT), "position": "left"}, "normal size; leave size and position out"),
    ],
)
def test_an_impossible_scene_is_one_clear_line(words, message):
    with pytest.raises(CourseError, match=message):
        Scene(**{"subjects": (RABBIT,), "place": "meadow", "time": "day"} | words)


def test_triples_name_every_subject():
    scene = Scene((RABBIT, CAT), "snow", "night")
    assert scene.triples == (("rabbit", "snow", "night"), ("cat", "snow", "night"))


def test_random_scenes_have_the_promised_shares():
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng) for _ in range(2000)]
    singles = [scene for scene in scenes if len(scene.subjects) == 1]
    # Three standard deviations of a share estimated from 2000 draws are below 0.035.
    assert 1 - len(singles) / 2000 == pytest.approx(0.30, abs=0.035)
    for key, half in (("size", "normal"), ("position", "middle")):
        counts = Counter(getattr(scene, key) for scene in singles)
        assert counts[half] / len(singles) == pytest.approx(0.5, abs=0.04)
        assert len(counts) == 3
    assert {(scene.place, scene.time) for scene in scenes} == set(SETTINGS)
    assert len({subject.en for scene in scenes for subject in scene.subjects}) == 96


def test_a_pool_limits_the_subjects():
    rng = np.random.default_rng(0)
    assert all(random_scene(rng, (CAT,)).subjects == (CAT,) for _ in range(20))


@pytest.mark.parametrize("style", STYLES)
def test_a_seed_fixes_every_byte(style):
    scene = Scene((RABBIT,), "meadow", "day", seed=3)
    first = render(scene, 64, style)
    sprite.cache_clear()
    assert render(scene, 64, style).tobytes() == first.tobytes()
    assert (first.mode, first.size) == ("RGB", (64, 64))
    assert render(Scene((RABBIT,), "meadow", "day", seed=4), 64, style).tobytes() != first.tobytes()


@pytest.mark.parametrize("style", STYLES)
def test_every_place_and_time_draws_in_every_style(style):
    pictures = {
        (place, time): render(Scene((RABBIT,), place, time, seed=1), 64, style) for place, time in SETTINGS
    }
    for setting, picture in pictures.items():
        assert np.asarray(picture).std() > 8, f"{setting} is nearly blank"
    by_place = {place: picture.tobytes() for (place, _), picture in pictures.items()}
    assert len(set(by_place.values())) == len(PLACES)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "space"])
def test_the_hour_shows_in_colour(place):
    light = {time: np.asarray(render(Scene((CAT,), place, time, seed=5))).mean() for time in TIMES}
    assert light["night"] < light["dusk"] < light["day"]


@pytest.mark.parametrize("place", PLACES)
def test_subjects_stand_where_and_as_large_as_the_scene_says(place):
    time = TIMELESS if place == "space" else "day"
    for position, centre in {"left": 0.25, "middle": 0.5, "right": 0.75}.items():
        for size, side in {"small": 0.30, "normal": 0.46, "big": 0.68}.items():
            (placement,) = lay_out(Scene((RABBIT,), place, time, size, position, seed=9)).placements
            left, top, width, height = place_box(sprite(RABBIT, "colour"), placement, 128)
            assert max(width, height) == pytest.approx(128 * side, abs=1)  # whole pixels
            assert min(left, top) >= 1
            assert max(left + width, top + height) <= 127
            # Large drawings are moved inwards where they would be cut off.
            slack = 0.04 if size == "small" else 0.15
            assert (left + width / 2) / 128 == pytest.approx(centre, abs=slack)


def test_a_pair_stands_left_and_right():
    first, second = lay_out(Scene((CAT, RABBIT), "meadow", "day", seed=2)).placements
    assert (first.subject, second.subject) == (CAT, RABBIT)
    assert first.x < 0.35
    assert second.x > 0.65


def test_an_unknown_style_is_one_clear_line():
    with pytest.raises(CourseError, match=f"unknown style 'oil'; known styles: {BASE_STYLE}, line-art"):
        render(Scene((CAT,), "room", "day"), style="oil")
