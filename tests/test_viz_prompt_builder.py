"""A prompt from its parts, what is said of it, and the figure of its words."""

import pytest

from kolors_course.errors import CourseError
from kolors_course.viz.prompt_builder import PromptParts, builder_figure, prompt_builder, prompt_note


@pytest.mark.parametrize(
    ("parts", "language", "prompt"),
    [
        (PromptParts("a rabbit"), "en", "a rabbit"),
        (
            PromptParts("a rabbit ", "in the snow", "", "line art style"),
            "en",
            "a rabbit in the snow, line art style",
        ),
        (
            PromptParts("一只兔子", "夜晚雪地上的", "美丽", "线稿风格"),
            "zh",
            "夜晚雪地上的一只兔子，美丽，线稿风格",
        ),
        (PromptParts("一只兔子", "在左边"), "zh", "一只兔子，在左边"),
    ],
)
def test_parts_become_a_prompt(parts, language, prompt):
    assert parts.written(language) == prompt


def test_tokens_are_counted_and_unknown_words_named(tiny_model):
    short, long = (prompt_note(tiny_model, prompt) for prompt in ("a (rabbit:2)", "a rabbit " * 400))
    assert short.endswith("of 256 tokens")
    assert "the rest is not read" in long
    assert int(short.split()[0]) < 256 < int(long.split()[0])
    assert "unknown: unicorn" in prompt_note(tiny_model, "a [rabbit:unicorn:0.5]")
    with pytest.raises(CourseError, match="never closed"):
        prompt_note(tiny_model, "a (rabbit")


def test_the_figure_has_a_map_for_each_word_and_says_what_was_asked(tiny_model):
    figure = builder_figure(tiny_model, "a rabbit", "a fox")
    titles = [axis.get_title() for axis in figure.axes if axis.get_visible() and axis.get_title()]
    assert titles[0] == "picture"
    assert len(titles) > 1
    assert "of 256 tokens" in figure.get_suptitle()


def test_its_controls_change_the_prompt_and_it_has_a_still_twin(tiny_model):
    choices = {"subject": ["a cat", "a unicorn"], "details": ["at night"], "modifiers": [""], "style": [""]}
    widget = prompt_builder(tiny_model, "en", choices | {"negative": ["", "a fox"]})
    assert "unknown" not in widget.result.get_suptitle()
    next(control for control in widget.kwargs_widgets if control.description == "subject").value = "a unicorn"
    assert "unknown: unicorn" in widget.result.get_suptitle()
    assert "image/png" in widget._repr_mimebundle_()[0]
