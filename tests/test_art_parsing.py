"""Captions back into facts: exactly what was said, and nothing out of what is no caption."""

from itertools import product

import numpy as np
import pytest

from kolors_course.art import (
    LANGUAGES,
    LENGTHS,
    PLACES,
    POSITIONS,
    SIZES,
    TIMELESS,
    TIMES,
    Scene,
    caption,
    random_scene,
    subjects,
)
from kolors_course.art.captions import in_style
from kolors_course.art.parsing import Told, parse_caption, true_facts
from kolors_course.errors import CourseError

TASKS = list(product(LANGUAGES, LENGTHS))
RABBIT = subjects()[0]


class Always:
    """A random generator that takes every synonym, or none."""

    def __init__(self, synonym: bool):
        self.value = 0.0 if synonym else 1.0

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize("synonym", [False, True], ids=["usual", "synonyms"])
@pytest.mark.parametrize(("language", "length"), TASKS)
def test_every_word_of_the_tables_is_read_back(language, length, synonym):
    times = {place: (TIMELESS,) if place == "space" else TIMES for place in PLACES}
    settings = [(place, time) for place in PLACES for time in times[place]]
    scenes = [Scene((subject,), *settings[i % len(settings)]) for i, subject in enumerate(subjects())]
    scenes += [
        Scene((RABBIT,), place, time, size, position)
        for (place, time), size, position in product(settings, SIZES, POSITIONS)
    ]
    for scene in scenes:
        text = caption(scene, language, length, Always(synonym))
        assert parse_caption(text, language, length) == true_facts(scene), text


@pytest.mark.parametrize(("language", "length"), TASKS)
def test_pairs_and_mixed_words_are_read_back(language, length):
    rng = np.random.default_rng(5)
    for _ in range(400):
        scene = random_scene(rng)
        text = caption(scene, language, length, rng)
        assert parse_caption(text, language, length) == true_facts(scene), text


def test_the_left_one_comes_first():
    text = "一幅画：夜晚的雪地上，左边是一只猫，右边是一只兔子"
    assert parse_caption(text, "zh", "detailed") == Told(("cat", "rabbit"), "snow", "night")


@pytest.mark.parametrize(
    ("text", "language", "length"),
    [
        ("", "en", "sentence"),
        ("a rabbit", "en", "sentence"),
        ("a rabbit in the snow at night, on the left,", "en", "sentence"),
        ("rabbit, snow, night, middle", "en", "label"),  # no label says the middle
        ("a rabbit in the snow at night", "en", "label"),
        ("a rabbit in outer space at night", "en", "sentence"),  # there is no night
        ("a rabbit in the snow", "en", "sentence"),  # and here there must be a time
        ("a rabbit and a rabbit in the snow at night", "en", "sentence"),
        ("a small rabbit and a cat in the snow at night", "en", "sentence"),
        ("rabbit and cat, snow, night, left", "en", "label"),
        ("an rabbit in the snow at night", "en", "sentence"),
        ("一头兔子", "zh", "label"),
        ("夜晚雪地上的一头兔子", "zh", "sentence"),  # not its measure word
        ("夜晚雪地上的一只兔子。", "zh", "sentence"),
        ("a cat in the snow at night", "zh", "sentence"),
    ],
)
def test_what_is_no_caption_has_no_facts(text, language, length):
    assert parse_caption(text, language, length) is None


def test_a_caption_with_its_style_is_none():
    scene = Scene((RABBIT,), "snow", "night")
    assert parse_caption(in_style(caption(scene, "en"), "en", "ink"), "en", "sentence") is None


@pytest.mark.parametrize(("language", "length"), [("fr", "label"), ("zh", "poem")])
def test_unknown_tasks_are_refused(language, length):
    with pytest.raises(CourseError, match="languages: en, zh; lengths: label, sentence, detailed"):
        parse_caption("a cat", language, length)
