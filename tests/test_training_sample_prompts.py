"""Sample prompts with their own seed, negative prompt and guidance: how they are written, and what is drawn."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import QUICK

from kolors_course.dataset import read_dataset
from kolors_course.errors import CourseError
from kolors_course.kolors import generate
from kolors_course.training.data import encode_training_data
from kolors_course.training.sample_prompts import SamplePrompt, parse_sample_prompt, sample_prompt_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", SamplePrompt("a cat")),
        ("雪地 --seed 3", SamplePrompt("雪地", 3)),
        (
            "a cat, high-res -- really --guidance 2.5 --negative blurry, dark --seed 0",
            SamplePrompt("a cat, high-res -- really", 0, "blurry, dark", 2.5),
        ),
    ],
)
def test_the_short_form_is_read_and_written(text, expected):
    assert parse_sample_prompt(text) == expected
    assert parse_sample_prompt(str(expected)) == expected
    assert sample_prompt_of({name: str(value) for name, value in expected.to_dict().items()}) == expected


def test_an_equals_sign_is_as_good_as_a_space():
    assert parse_sample_prompt("a cat --seed=3 --negative=red") == SamplePrompt("a cat", 3, "red")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x --sed 3", "did you mean seed"),
        ("x --d 3", "there is no d"),
        ("x --seed", "has no value"),
        ("x --seed a", "seed is no number"),
        ("x --seed 1 --seed 2", "given twice"),
        ("x --seed -1", "seed of a sample prompt"),
        ("x --seed 4294967296", "seed of a sample prompt"),
        ("x --guidance nan", "guidance of a sample prompt"),
        ("x --prompt y", "given twice"),
        ("x --seed=", "has no value"),
        ("--seed 3", "is empty"),
        ("", "is empty"),
    ],
)
def test_mistakes_are_told(text, fault):
    with pytest.raises(CourseError, match=fault):
        parse_sample_prompt(text)


def test_each_picture_is_drawn_as_it_was_asked_for(tiny_model, tiny_pictures):
    samples = (
        SamplePrompt("a red cat"),
        SamplePrompt("a blue cat", seed=7, negative="a red cat", guidance=9.0),
        SamplePrompt("a green cat", guidance=1.0),
    )
    recipe = replace(QUICK, sample_prompts=(*samples, "a pink cat"))
    sheet = encode_training_data(tiny_model, read_dataset(tiny_pictures), None, recipe).sheet.draw(tiny_model)
    side = sheet.height
    for i, sample in enumerate(recipe.sample_prompts):
        sampling = replace(tiny_model.sampling, negative_prompt=sample.negative)
        if sample.guidance is not None:
            sampling = replace(sampling, guidance_scale=sample.guidance)
        seed = i if sample.seed is None else sample.seed
        (alone,) = generate(tiny_model, [sample.prompt], [seed], sampling)
        drawn = np.asarray(sheet.crop((i * side, 0, (i + 1) * side, side)), float)
        assert np.abs(drawn - np.asarray(alone, float)).max() <= 2  # batches round in another way
