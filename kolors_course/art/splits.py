"""What training never sees, fixed for ever by a hash of the names.

* Composition: about 10 % of the (subject, place, time) triples, to ask for combinations never drawn.
* Style: 40 subjects no LoRA sees in its style, to ask whether a style carries over.
"""

import hashlib
from functools import cache

import numpy as np

from kolors_course.art.backdrop import PLACES, TIMELESS, TIMES
from kolors_course.art.scene import Scene, random_scene
from kolors_course.art.subject import Subject, subjects
from kolors_course.errors import CourseError

STYLE_HELD_OUT = 40


def _hash(*words: str) -> int:
    return int.from_bytes(hashlib.sha256("|".join(words).encode()).digest()[:8], "big")


def is_held_out(scene: Scene) -> bool:
    """True if any (subject, place, time) of the scene belongs to the composition test."""
    return any(_is_test_triple(*triple) for triple in scene.triples)


def _is_test_triple(subject: str, place: str, time: str) -> bool:
    return _hash("composition", subject, place, time) % 10 == 0


def _has_test_triple(subject: Subject) -> bool:
    settings = [(place, time) for place in PLACES for time in ((TIMELESS,) if place == "space" else TIMES)]
    return any(_is_test_triple(subject.en, *setting) for setting in settings)


@cache
def style_test_subjects() -> tuple[Subject, ...]:
    """The 40 subjects that no style data set contains."""
    return tuple(sorted(subjects(), key=lambda s: _hash("style", s.en))[:STYLE_HELD_OUT])


@cache
def style_train_subjects() -> tuple[Subject, ...]:
    """The other subjects, free to use in style data sets."""
    test = style_test_subjects()
    return tuple(s for s in subjects() if s not in test)


def draw_scene(
    rng: np.random.Generator, held_out: bool = False, pool: tuple[Subject, ...] | None = None
) -> Scene:
    """A random scene from the training side of the composition split, or from the held-out side.

    Raises:
        CourseError: a held-out scene is wanted, but no subject of `pool` has one (8 of the 96 have none).
    """
    if held_out and pool is not None and not any(map(_has_test_triple, pool)):
        names = ", ".join(subject.en for subject in pool)
        raise CourseError(f"no scene with {names} is held out of training; put other subjects into the pool")
    while True:
        scene = random_scene(rng, pool)
        if is_held_out(scene) == held_out:
            return scene
