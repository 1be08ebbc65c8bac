"""Weights in prompts: what is read, and what is refused."""

import math

import pytest

from kolors_course.errors import CourseError
from kolors_course.prompting import looks_weighted, read_weights, without_weights


def runs(prompt: str) -> list[tuple[str, float]]:
    """Neighbouring characters of one weight, together."""
    read = read_weights(prompt)
    found: list[tuple[str, float]] = []
    for character, weight in zip(read.text, read.weights, strict=True):
        if found and math.isclose(found[-1][1], weight):
            character, _ = found.pop()[0] + character, None
        found.append((character, weight))
    return [(text, round(weight, 6)) for text, weight in found]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("a cat", [("a cat", 1)]),
        ("a (cat:1.3) here", [("a ", 1), ("cat", 1.3), (" here", 1)]),
        ("a (cat)", [("a ", 1), ("cat", 1.1)]),
        ("a ((cat))", [("a ", 1), ("cat", 1.21)]),
        ("a [cat]", [("a ", 1), ("cat", round(1 / 1.1, 6))]),
        ("[(cat)]", [("cat", 1)]),
        ("(a (big:2) cat:1.5)", [("a ", 1.5), ("big", 3), (" cat", 1.5)]),
        ("(a cat:0)", [("a cat", 0)]),
        ("(cat : .5 )", [("cat ", 0.5)]),
        ("一只（兔子：1.3）在雪地", [("一只", 1), ("兔子", 1.3), ("在雪地", 1)]),
        ("（兔子:１.５)［雪地］", [("兔子", 1.5), ("雪地", round(1 / 1.1, 6))]),
        ("【兔子】《月亮》", [("【兔子】《月亮》", 1)]),
        (r"a cat \(black\), \[x\] \\ \:", [(r"a cat (black), [x] \ :", 1)]),
        (r"一只\（白色\）兔子", [("一只（白色）兔子", 1)]),
        (r"(16\:9)", [("16:9", 1.1)]),
        (r"C:\new", [(r"C:\new", 1)]),
        ("note: snow, 10:30", [("note: snow, 10:30", 1)]),
        ("(note: snow:0.5)", [("note: snow", 0.5)]),
        ("(a: b)", [("a: b", 1.1)]),
    ],
)
def test_what_a_prompt_says(prompt, expected):
    assert runs(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "place", "fault"),
    [
        ("a (cat", 3, "never closed"),
        ("a ((cat)", 3, "never closed"),
        ("a cat :)", 8, "closes no '('"),
        ("a (cat]", 7, "closes no '['"),
        ("a （cat］", 7, "closes no '['"),
        ("a ()", 3, "nothing in them"),
        ("a ( )", 3, "nothing in them"),
        ("a (:1.3)", 3, "nothing in them"),
        ("a (cat:)", 7, "must be a number from 0 to 10, not "),
        ("a (cat:1.3x)", 7, "must be a number from 0 to 10, not 1.3x"),
        ("a (cat:1。3)", 7, "not 1。3"),
        ("a (cat:-1)", 7, "not -1"),
        ("a (cat:11)", 7, "not 11"),
        ("a [cat:1.3]", 7, "round brackets"),
        ("a (cat:1.3, dog:1.2)", 7, "last in its brackets"),
        ("a (cat:1.3", 7, "last in its brackets"),
        ("a (cat:1.3 (dog))", 7, "last in its brackets"),
        ("(" * 17 + "cat" + ")" * 17, 17, "more than 16 brackets"),
    ],
)
def test_what_is_refused_and_where(prompt, place, fault):
    with pytest.raises(CourseError) as caught:
        read_weights(prompt)
    message = str(caught.value)
    assert message.startswith(f"the prompt at character {place}, '")
    assert fault in message
    assert "\n" not in message
    assert len(message) < 200


def test_a_long_prompt_of_brackets_is_read_at_once():
    assert read_weights("(cat) " * 20_000).weights[0] == 1.1
    with pytest.raises(CourseError):
        read_weights("(" * 100_000)


@pytest.mark.parametrize("text", ["a (cat:1.3) [x] :)", r"C:\(x", "（白色）", r"\\", "", "plain", r"a\:b"])
def test_any_text_can_be_said_letter_by_letter(text):
    read = read_weights(without_weights(text))
    assert read.text == text
    assert read.is_plain


def test_the_mean_of_characters_leaves_out_blanks():
    read = read_weights("a (cat:2)s")
    assert read.text == "a cats"
    assert read.mean(1, 5) == 2  # " cat"
    assert read.mean(2, 6) == (3 * 2 + 1) / 4
    assert read.mean(1, 2) == 1
    assert read.mean(3, 3) == 1


@pytest.mark.parametrize(
    ("text", "weighted"),
    [
        ("a (cat:1.3)", True),
        ("（猫：1.3）", True),
        ("a (black) cat", False),
        ("at 10:30", False),
        ("(:" + "1" * 100_000, False),
        ("(a:.5)", True),
        ("(a: b)", False),
    ],
)
def test_texts_that_look_weighted(text, weighted):
    assert looks_weighted(text) is weighted
