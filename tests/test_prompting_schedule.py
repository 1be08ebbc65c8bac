"""Prompts that change on the way: what is read, and what is refused."""

import pytest

from kolors_course.errors import CourseError
from kolors_course.prompting import check_prompts, read_stages, read_weights, texts_of


@pytest.mark.parametrize(
    ("prompt", "stages"),
    [
        ("", [(0, "")]),
        ("a cat", [(0, "a cat")]),
        ("a [cat:dog:0.4]!", [(0, "a cat!"), (0.4, "a dog!")]),
        ("a cat[:, snow:.3]", [(0, "a cat"), (0.3, "a cat, snow")]),
        ("a [big ::0.5]cat", [(0, "a big cat"), (0.5, "a cat")]),
        ("[a:b:0.5][c:d:0.25]", [(0, "ac"), (0.25, "ad"), (0.5, "bd")]),
        ("[a:[b:c:0.7]:0.3]", [(0, "a"), (0.3, "b"), (0.7, "c")]),
        ("[a:[b:c:0.2]:0.3]", [(0, "a"), (0.3, "c")]),
        ("a [cat:dog:0]", [(0, "a dog")]),
        ("a [cat:dog:1]", [(0, "a cat")]),
        ("a [cat:cat:0.5]", [(0, "a cat")]),
        ("a ［猫：狗：0.5］", [(0, "a 猫"), (0.5, "a 狗")]),
        ("[(cat:1.3):[dog]:0.5]", [(0, "(cat:1.3)"), (0.5, "[dog]")]),
        ("([cat:dog:0.5]:1.3)", [(0, "(cat:1.3)"), (0.5, "(dog:1.3)")]),
        ("[cat] [note: x: y]", [(0, "[cat] [note: x: y]")]),
        (r"\[a:b:0.5\] [a\:b:c:0.5]", [(0, r"\[a:b:0.5\] a\:b"), (0.5, r"\[a:b:0.5\] c")]),
        ("[cat:1.3] [a:b:0.5", [(0, "[cat:1.3] [a:b:0.5")]),
    ],
)
def test_stages(prompt, stages):
    assert [tuple(stage) for stage in read_stages(prompt)] == stages


def test_texts_are_without_weights():
    assert texts_of("a [(cat:1.3):[dog]:0.5]") == ("a cat", "a dog")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a [cat:dog:1.5]", "at '[cat:dog:1.5]': the share of the steps must be a number from 0 to 1"),
        ("a [cat:dog:0.5x]", "must be a number from 0 to 1, not 0.5x"),
        ("a [cat:0.5]", "and a prompt that changes, [a:b:0.5], has two colons"),
        ("a [cat:dog:0.5", "a weight stands"),
        ("[a:b:c:0.5]", "a weight stands"),
        ("[a:(b):0.5", "a weight stands"),
        ("".join(f"[a:b:0.{i}]" for i in range(1, 10)), "changes 9 times; at most 7"),
    ],
)
def test_what_is_refused(prompt, message):
    with pytest.raises(CourseError) as caught:
        check_prompts(["fine", prompt])
    assert message in str(caught.value)


def test_what_cannot_change_on_the_way_says_so():
    with pytest.raises(CourseError, match="a prompt that changes"):
        read_weights("a [cat:dog:0.5]")


def test_long_prompts_of_brackets_are_read_at_once():
    assert len(read_stages("[" * 50_000 + ":" * 10)) == 1
    assert len(read_stages("[a:b:0.5]" * 5000)) == 2
