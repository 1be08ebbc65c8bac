"""Scenes read out of prompts: the reverse of captions."""

from dataclasses import replace

import numpy as np
import pytest

from kolors_course.art import LANGUAGES, LENGTHS, caption, random_scene
from kolors_course.art.facts import scene_of


def test_a_caption_gives_its_scene_back():
    rng = np.random.default_rng(1)
    for _ in range(200):
        scene = random_scene(rng)
        for language in LANGUAGES:
            for length in LENGTHS:
                for words in (None, rng):
                    prompt = caption(scene, language, length, words)
                    assert scene_of(prompt) == replace(scene, seed=0), prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a cat",
        "a cat at night",
        "a cat in the city",
        "in the city at night",
        "a cat in the city in the snow at night",
        "a cat in the city at night, in the daytime",
        "a cat, a dog and an owl in the city at night",
        "夜晚的一只猫",
    ],
)
def test_what_is_left_open_is_no_scene(prompt):
    assert scene_of(prompt) is None
