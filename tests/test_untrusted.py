"""JSON of bounded size and depth, declared shapes, and values that messages can hold."""

import json
from dataclasses import dataclass

import pytest

from kolors_course.errors import CourseError, brief
from kolors_course.untrusted import (
    MAX_BYTES,
    MAX_DEPTH,
    Id,
    Integer,
    Text,
    parse_json,
    read_as,
)


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "猫"}',
        b'\xef\xbb\xbf{"a": "\xe7\x8c\xab"}',
        '{"a": "猫"}'.encode("utf-16"),
        '\ufeff{"a": "猫"}',
    ],
)
def test_json_is_read_in_every_encoding_that_says_what_it_is(text):
    assert parse_json(text, "it") == {"a": "猫"}


def test_depth_has_a_bound_and_breadth_has_none():
    assert parse_json(nested(MAX_DEPTH), "it")
    assert len(parse_json("[" + "[]," * 5000 + "0]", "it")) == 5001
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(CourseError, match="^it: nested"):
            parse_json(nested(depth), "it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "it: nested"),
        ('{\n"a": }', "it, line 2: not JSON"),
        ("", "it, line 1: not JSON"),
        (b"\xff\xfe\x00", "it cannot be read"),
        ("你好".encode("gbk"), "it cannot be read"),
        ("1" * 5000, "it: not JSON that can be read"),
        (b" " * (MAX_BYTES + 1), "it: longer than 16 MiB"),
    ],
)
def test_other_texts_are_refused_in_one_line(text, message):
    with pytest.raises(CourseError, match=message) as caught:
        parse_json(text, "it")
    assert len(str(caught.value).splitlines()) == 1


@dataclass(frozen=True)
class Part:
    key: Id
    count: Integer = 0


@dataclass(frozen=True)
class Whole:
    name: Text
    parts: tuple[Part, ...] = ()


def test_a_shape_takes_what_it_names():
    value = {"name": "a", "parts": [{"key": 5, "more": 1}, {"key": "5", "count": 2}]}
    assert read_as(Whole, value, "it") == Whole("a", (Part("5"), Part("5", 2)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "it is damaged at name: it is missing; save it again"),
        ([], "it is damaged: an object {…} belongs there"),
        ({"name": 5}, "at name: a text belongs there"),
        ({"name": "a", "parts": {}}, r"at parts: a list \[…\] belongs there"),
        ({"name": "a", "parts": [{"key": True}]}, "at parts.0.key: an id is a number or a text"),
        (
            {"name": "a", "parts": [{"key": 1, "count": "2"}]},
            "at parts.0.count: a whole number belongs there",
        ),
        ({"name": "a", "parts": [{"key": 1, "count": 2.5}]}, "at parts.0.count"),
        ({"name": "a", "parts": [{"key": 1, "count": True}]}, "at parts.0.count"),
    ],
)
def test_the_first_fault_is_named_with_the_way_to_it(value, message):
    with pytest.raises(CourseError, match=message):
        read_as(Whole, json.loads(json.dumps(value)), "it", "save it again")


def test_values_in_messages_are_short_and_printable():
    assert brief("猫 \n\x00\ud800x") == r"猫 \x0a\x00\ud800x"
    assert len(brief("x" * 10_000)) == 60
    assert brief(12) == "12"
