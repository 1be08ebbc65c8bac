"""The exercises of notebook 06: right answers pass, and each likely mistake gets its own explanation."""

import math
import re

import pytest

from kolors_course.art import Scene, find_subject
from kolors_course.evaluation import Verdict
from kolors_course.exercises import Right, prompting

SCENE = Scene((find_subject("fox"),), "city", "night")
SEEN = Verdict(("fox",), ("fox", "cat"), "city", "night", "normal", "middle", 1, "emoji")
MISSED = Verdict(("fox",), ("fox", "cat"), "forest", "night", "normal", "middle", 1, "emoji")


def test_the_right_bias_passes():
    assert isinstance(prompting.check_bias.reply(prompting.bias_of_weight), Right)
    assert isinstance(prompting.check_bias.reply(lambda w: math.log(w) if w else float("-inf")), Right)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (lambda w: w, "multiplied with shares"),
        (lambda w: w - 1, "At weight 2 it gives 1"),
        (lambda w: math.log10(w) if w else -math.inf, "Solve exp"),
        (lambda w: math.log(max(w, 1e-9)), "only exp"),
        (lambda w: math.log(w), "math domain error|positive input"),
        (lambda w: None, "not a number"),
        (3, "not a function"),
    ],
)
def test_wrong_biases_are_explained(bias, message):
    assert re.search(message, prompting.check_bias.reply(bias))


@pytest.mark.parametrize(
    "template", ["{a|b|c} {d|e}", "{a|b|{c|d}} {e|f|g}", prompting.counting_template(12)]
)
def test_templates_that_count_pass(template):
    count = 6 if template == "{a|b|c} {d|e}" else 12
    assert isinstance(prompting.check_template.reply(template, count), Right)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{a|b}", "makes 2 prompts, not 6"),
        ("{a|b|c} {d|d}", "only 3 are different"),
        ("{a|b", "never closed"),
        (6, "not a text"),
        ("__place__", "no words for"),
    ],
)
def test_wrong_templates_are_explained(template, message):
    assert re.search(message, prompting.check_template.reply(template, 6))


def test_the_step_of_a_switch():
    assert isinstance(prompting.check_step.reply(3, 0.3, 10), Right)
    assert isinstance(prompting.check_step.reply(5, 0.3, 16), Right)
    assert "step 4 stands at 0.25" in prompting.check_step.reply(4, 0.3, 16)
    assert "whole number" in prompting.check_step.reply(4.8, 0.3, 16)


def test_a_prompt_with_all_facts():
    def reply(prompt, *seen):
        return prompting.check_all_facts.reply(prompt, SCENE, lambda text: seen)

    assert isinstance(reply("a fox in the city at night", SEEN, SEEN, MISSED), Right)
    assert "missed most often is the place" in reply("a fox", MISSED, MISSED, SEEN)
    assert "does not know: unicorn" in reply("a unicorn", SEEN)
    assert "not a text" in reply(5, SEEN)
