"""The exercises of notebook 00: right answers pass, and each likely mistake gets its own explanation."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from kolors_course.art import LANGUAGES, LENGTHS, Scene, caption, find_subject, random_scene
from kolors_course.art.facts import fact_words, read_facts
from kolors_course.exercises import Right, fast, setup

RABBIT = Scene((find_subject("rabbit"),), "snow", "night")


class Model:
    """The few things that the checks ask a model for."""

    def __init__(self, vae_scale_factor=4):
        self.vae_scale_factor = vae_scale_factor
        self.unet = SimpleNamespace(config=SimpleNamespace(in_channels=4))

    def tokenizer(self, prompt, truncation, max_length):
        return {"input_ids": [1, 2, *range(len(prompt.split()))]}


def test_every_caption_of_the_world_states_its_facts():
    rng = np.random.default_rng(0)
    for _ in range(300):
        scene = random_scene(rng)
        for language in LANGUAGES:
            for length in LENGTHS:
                for words in (None, rng):
                    prompt = caption(scene, language, length, words)
                    assert isinstance(setup.check_prompt.reply(prompt, scene), Right), prompt


@pytest.mark.parametrize(
    ("prompt", "kind", "values"),
    [
        ("a teddy bear", "subject", {"teddy bear"}),
        ("Bears and a palm tree", "subject", {"bear", "palm tree"}),
        ("雪人", "subject", {"snowman"}),
        ("雪人", "place", set()),
        ("猫头鹰", "subject", {"owl"}),
        ("a mushroom", "place", set()),
        ("a UFO", "subject", {"UFO"}),
        ("海边的海豚", "place", {"beach"}),
        ("under the moon, or at sunset", "time", {"night", "dusk"}),
    ],
)
def test_longer_words_are_read_first(prompt, kind, values):
    assert read_facts(prompt)[kind] == values


def test_every_fact_has_a_chinese_name():
    for kind, values in fact_words().items():
        for value in values:
            assert not setup._chinese(kind, [value]).isascii()


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("  ", "The prompt is empty"),
        (
            "a snowy field at night",
            "subject: the picture shows rabbit, and I found no subject word that I know",
        ),
        ("a fox in the snow at night", "subject: the prompt says fox, the picture shows rabbit"),
        (
            "a rabbit and a fox in the snow at night",
            "subject: the prompt says fox, which the picture does not",
        ),
        ("a rabbit at night", "place: the picture shows snow"),
        ("雪地上的一只兔子", "time: the picture shows night"),
        ("白天雪地上的一只兔子", "time: the prompt says day, the picture shows night"),
        ("a big rabbit in the snow at night", "size: the prompt says big, which the picture does not show"),
        ("a rabbit on the left, in the snow at night", "position: the prompt says left"),
    ],
)
def test_wrong_prompts_are_explained(prompt, message):
    verdict = setup.check_prompt.reply(prompt, RABBIT)
    assert re.search(message, verdict)
    assert "还不对" in verdict


def test_size_and_position_must_be_said_when_they_are_unusual():
    scene = replace(RABBIT, size="big", position="left")
    said = setup.check_prompt.reply("a rabbit on the left, in the snow at night", scene)
    assert "size: the picture shows big, and I found no size word that I know" in said
    said = setup.check_prompt.reply("a big rabbit in the snow at night", scene)
    assert "position: the picture shows left" in said
    assert isinstance(setup.check_prompt.reply("雪地夜晚，左边是一只巨大的兔子", scene), Right)


@pytest.mark.parametrize(
    "prompt",
    [
        "大猫头鹰在右边，黄昏的山前",
        "很大的猫头鹰，傍晚，山前右侧",
        "黄昏时分，山前右边有一只很大的猫头鹰",
        "夕阳下，右边站着一只大猫头鹰，背景是群山",
        "日落时，一只大大的猫头鹰坐在山前面的右边",
        "a big owl in front of mountains in the evening, on the right",
        "A huge owl sits on the right side, in front of hills at sunset.",
        "There is a large owl standing on the right. Behind it are mountains at dusk.",
        "right: big owl, dusk, mountain",
    ],
)
def test_prompts_are_read_as_people_write_them(prompt):
    assert isinstance(setup.check_prompt.reply(prompt, setup.puzzle_scene()), Right)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (
            "a big owl in front of mountains at sunset, on the right, with a red hat",
            "red, hat: I know no such thing",
        ),
        ("右边一只戴红帽子的大猫头鹰，黄昏，山前", "戴红帽子: I know no such thing"),
        (
            "a woodcut style big owl in front of mountains at sunset, on the right",
            "woodcut: I know no such thing",
        ),
        (
            "黄昏的山前，右边有一只猫头鹰",
            "size: the picture shows big, and I found no size word that I know.",
        ),
        ("a vast owl before mountains at dusk, right", "no size word that I know (nor do I know: vast)"),
        ("大街上的猫头鹰，黄昏，右边", "place: the prompt says city, the picture shows mountain"),
        ("大概是猫头鹰，黄昏，山前，右边", "no size word"),
        (42, "The answer is 42, not a text: write it between quotes"),
        (..., "Yours to write"),
    ],
)
def test_what_a_prompt_names_more_or_less_is_told(prompt, said):
    assert said in setup.check_prompt.reply(prompt, setup.puzzle_scene())


def test_a_size_is_read_right_before_a_subject_only():
    assert read_facts("小猫和大象")["size"] == {"small"}
    assert read_facts("大树林")["size"] == set()


def test_a_normal_size_in_the_middle_may_be_said():
    assert isinstance(setup.check_prompt.reply("夜晚雪地，中间是一只兔子", RABBIT), Right)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((4, 16, 24), "starts with the batch"),
        ((16, 24), "2 numbers"),
        ((1, 3, 16, 24), "red, green, blue"),
        ((1, 4, 24, 16), "swapped"),
        ((1, 4, 64, 96), "picture's own sides"),
        ((1, 4, 32, 48), "halved once too few: this VAE halves each side 2 times"),
        ((1, 4, 5, 5), "is not it"),
    ],
)
def test_wrong_latent_shapes_are_explained(answer, message):
    assert re.search(message, setup.check_latents_shape.reply(answer, Model(), width=96, height=64))


def test_the_right_latent_shape_passes_for_both_models():
    assert "12 times fewer" in setup.check_latents_shape.reply([1, 4, 16, 24], Model(), width=96, height=64)
    assert "48 times fewer" in setup.check_latents_shape.reply(
        (1, 4, 128, 128), Model(8), width=1024, height=1024
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (3, "two tokens before them"),
        (256, "length after padding"),
        (len("one two three"), "Characters are not tokens"),
        (99, "99 is not it"),
        (None, "not a number"),
    ],
)
def test_wrong_token_counts_are_explained(answer, message):
    assert re.search(message, setup.check_token_count.reply(answer, Model(), "one two three"))


def test_the_right_token_count_passes():
    assert "5 tokens" in setup.check_token_count.reply(5, Model(), "one two three")


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_fast_reads_the_environment(monkeypatch, value, expected):
    monkeypatch.delenv("KOLORS_COURSE_FAST", raising=False)
    if value is not None:
        monkeypatch.setenv("KOLORS_COURSE_FAST", value)
    assert fast() is expected
