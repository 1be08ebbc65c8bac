"""The two hold-outs: fixed for ever, and respected by everything that draws training scenes."""

import numpy as np
import pytest

from kolors_course.art import (
    PLACES,
    TIMELESS,
    TIMES,
    Scene,
    draw_scene,
    find_subject,
    is_held_out,
    style_test_subjects,
    style_train_subjects,
    subjects,
)
from kolors_course.errors import CourseError

SETTINGS = [(place, time) for place in PLACES for time in ((TIMELESS,) if place == "space" else TIMES)]
# Trained weights depend on these: if this test fails, the split moved, and every published score is void.
HELD_OUT = [
    ("rabbit", "beach", "night"),
    ("camel", "room", "dusk"),
    ("bear", "space", "timeless"),
    ("parrot", "beach", "day"),
    ("fish", "forest", "day"),
    ("rose", "city", "dusk"),
    ("pineapple", "snow", "day"),
    ("fire truck", "snow", "dusk"),
    ("castle", "forest", "day"),
    ("guitar", "forest", "day"),
    ("pumpkin lantern", "city", "night"),
]
PINNED_TRAIN = [
    ("rabbit", "meadow", "day"),
    ("giraffe", "room", "night"),
    ("frog", "forest", "day"),
    ("snake", "desert", "night"),
    ("bee", "sea", "day"),
    ("strawberry", "desert", "dusk"),
    ("tractor", "snow", "night"),
    ("robot", "meadow", "night"),
    ("pumpkin lantern", "beach", "night"),
]
STYLE_TEST = (
    "pizza",
    "camel",
    "apple",
    "dragon",
    "palm tree",
    "dog",
    "swan",
    "ghost",
    "deer",
    "rabbit",
    "cactus",
    "tractor",
    "snake",
    "santa",
    "panda",
    "fish",
    "whale",
    "bee",
    "pumpkin lantern",
    "castle",
    "house",
    "airplane",
    "pig",
    "monkey",
    "mushroom",
    "banana",
    "horse",
    "fire truck",
    "shark",
    "hippo",
    "dolphin",
    "bicycle",
    "duck",
    "flamingo",
    "soccer ball",
    "turtle",
    "cow",
    "ice cream",
    "dinosaur",
    "watermelon",
)


def scene_of(name: str, place: str, time: str) -> Scene:
    return Scene((find_subject(name),), place, time)


@pytest.mark.parametrize("triple", HELD_OUT)
def test_pinned_triples_stay_held_out(triple):
    assert is_held_out(scene_of(*triple))


@pytest.mark.parametrize("triple", PINNED_TRAIN)
def test_pinned_triples_stay_in_training(triple):
    assert not is_held_out(scene_of(*triple))


def test_a_tenth_of_all_triples_is_held_out():
    scenes = [Scene((subject,), *setting) for subject in subjects() for setting in SETTINGS]
    assert len(scenes) == 96 * 28
    assert sum(map(is_held_out, scenes)) == 271  # 10.1 %


def test_looks_and_seeds_do_not_move_a_scene_to_the_other_side():
    name, place, time = HELD_OUT[0]
    subject = (find_subject(name),)
    assert is_held_out(Scene(subject, place, time, "big", "left", seed=5))


def test_one_held_out_subject_holds_a_pair_out():
    name, place, time = HELD_OUT[0]
    other = next(s for s in subjects() if not is_held_out(Scene((s,), place, time)))
    held = find_subject(name)
    assert is_held_out(Scene((held, other), place, time))
    assert is_held_out(Scene((other, held), place, time))


def test_style_subjects_are_pinned_and_disjoint():
    test, train = style_test_subjects(), style_train_subjects()
    assert tuple(subject.en for subject in test) == STYLE_TEST
    assert (len(test), len(train)) == (40, 56)
    assert set(test).isdisjoint(train)
    assert set(test) | set(train) == set(subjects())


@pytest.mark.parametrize("held_out", [False, True])
def test_draw_scene_keeps_to_its_side(held_out):
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, held_out) for _ in range(300)]
    assert all(is_held_out(scene) == held_out for scene in scenes)


def test_draw_scene_keeps_to_its_pool():
    rng, pool = np.random.default_rng(1), style_test_subjects()
    scenes = [draw_scene(rng, held_out=True, pool=pool) for _ in range(100)]
    assert {subject for scene in scenes for subject in scene.subjects} <= set(pool)


def test_a_pool_without_held_out_scenes_is_one_clear_line():
    nothing_held = [s for s in subjects() if not any(is_held_out(Scene((s,), *where)) for where in SETTINGS)]
    assert len(nothing_held) == 8
    with pytest.raises(CourseError, match="no scene with sheep, ghost is held out"):
        draw_scene(np.random.default_rng(0), True, (find_subject("sheep"), find_subject("ghost")))
