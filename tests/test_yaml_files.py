"""YAML from elsewhere: which values it gives, and the one line about everything that is refused."""

import tracemalloc

import pytest

from kolors_course.errors import CourseError
from kolors_course.yaml_files import MAX_BYTES, MAX_DEPTH, YamlFault, parse_yaml, read_yaml

BOMB = "- &b0 [lol]\n" + "".join(f"- &b{i} [{','.join([f'*b{i - 1}'] * 10)}]\n" for i in range(1, 10))
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 10)
)
X = {"k": 1, "l": 2}
TAGS = (
    '!!int ""',
    "!!int x",
    "!!bool xyz",
    "!!float a",
    "!!timestamp x",
    "!!binary ===",
    "!!set {a, b}",
    "!!omap [1]",
    "!!pairs [1]",
    "!!null x",
    "!!str 1",
    "!!merge x",
    "!!python/object:os.system x",
    "!!python/name:os.system",
    "!mine 1",
    "! 1",
    "!<tag:yaml.org,2002:int> x",
)


def fault(text: str) -> str:
    with pytest.raises(YamlFault) as caught:
        parse_yaml(text, "FILE")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("[1e-4, -3, 0x10, 0o17, 1.5, .5]", [1e-4, -3, 16, 15, 1.5, 0.5]),
        ("[true, False, null, ~]", [True, False, None, None]),
        ("[no, 2024-05-01, 12:30, 1_000, .inf, 1e]", ["no", "2024-05-01", "12:30", "1_000", ".inf", "1e"]),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\nc: [*x, *x]", {"a": X, "b": X | {"k": 3}, "c": [X, X]}),
        ("a: &x {<<: &y {k: 1}, k: 2}\nb: {<<: *x}\nc: *y", {"a": {"k": 2}, "b": {"k": 2}, "c": {"k": 1}}),
        ("a:\n- b: 剪纸", {"a": [{"b": "剪纸"}]}),
        ('a: "1"\nb: \'true\'\nc: |\n  x\n  y\n', {"a": "1", "b": "true", "c": "x\ny\n"}),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, eval("[" * MAX_DEPTH + "]" * MAX_DEPTH)),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_yaml_1_2(text, value):
    assert parse_yaml(text, "FILE") == value


@pytest.mark.parametrize("tag", TAGS)
def test_tags_are_refused_whatever_they_ask_for(tag):
    assert fault(f"a: 1\nb: {tag}\n").startswith("FILE line 2, column 4: the tag ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "FILE line 5, column 28: more than 20000 values, those of aliases included"),
        (MERGES, "more than 20000 values"),
        ("[" + "a," * 20_000 + "]", "FILE line 1, column 40000: more than 20000 values"),
        ("a: *x", "FILE line 1, column 4: the alias 'x' means nothing that is finished before it"),
        ("&x [*x]", "FILE line 1, column 5: the alias 'x' means nothing that is finished before it"),
        ("a: &x 1\nb: &x 2", "not valid YAML (found duplicate anchor"),
        ("<<: 1", "not valid YAML (while constructing a mapping, expected a mapping"),
        ("- <<", "not valid YAML"),
        ("a: [1\nb: 2\n", "FILE line 2, column 2: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "FILE line 2, column 1: not valid YAML (expected a single document"),
        ("a: 1\na: 2", "FILE line 2, column 1: not valid YAML (key 'a' is written twice)"),
        ("a: 1\n'a': 2", "key 'a' is written twice"),
        (f"{'a' * 900}: 1\n{'a' * 900}: 2", "is written twice"),
        ("x: {1: a}", "FILE line 1, column 5: a key must be text; put it in quotes"),
        ("? [a]\n: b", "a key must be text"),
        ("true: 1", "a key must be text"),
        ("[" * 21, "FILE line 1, column 21: nested more than 20 deep"),
        ("[" * 10**5, "nested more than 20 deep"),
        ("{a: " * 10**4, "nested more than 20 deep"),
        ("- " * 10**4, "nested more than 20 deep"),
        ("? " * 10**4, "nested more than 20 deep"),
        ("a: \x00", "FILE line 1: not valid YAML (character U+0000 is not allowed)"),
        ("a: 1\nb: \x1b[31m", "FILE line 2: not valid YAML (character U+001B"),
        ("a: \ud800", "character U+D800 is not allowed"),
        (r'a: "\0"', "FILE line 1, column 4: character U+0000 is not allowed in a text"),
        (r'a: "\x1b[31m"', "character U+001B is not allowed in a text"),
        (r'a: "\ud800"', "character U+D800 is not allowed in a text"),
        (r'a: "\UFFFFFFFF"', "FILE line 1: not valid YAML ("),
        ("a: 1e999", "FILE line 1, column 4: the number '1e999' is too large"),
        ("a: " + "9" * 400 + ".0", "is too large"),
        ("a: " + "9" * 5000, "a number of 5000 digits is too long"),
        ("a: @x", "not valid YAML"),
        ("%YAML 9.9\n---\na: 1", "not valid YAML"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1", "not valid YAML"),
        ("!" + "x" * 10**5 + "!y 1", "not valid YAML"),
        ("a" * (MAX_BYTES + 1), "characters are too many"),
    ],
)
def test_what_is_refused_and_where(text, said):
    assert said in fault(text)


def test_a_bomb_takes_no_memory():
    tracemalloc.start()
    for text in (BOMB, MERGES):
        fault(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_files_that_cannot_be_read(tmp_path):
    def refused(path) -> str:
        with pytest.raises(CourseError) as caught:
            read_yaml(path, "a YAML file such as x.yaml")
        return str(caught.value).replace(str(path), "FILE")

    assert refused(tmp_path / "none.yaml") == "FILE does not exist; give a YAML file such as x.yaml"
    assert refused(tmp_path) == "FILE is a folder, not a file; give a YAML file such as x.yaml"
    assert refused("/dev/null").startswith("FILE is not an ordinary file")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    assert refused(tmp_path / "large.yaml").startswith(f"FILE has {MAX_BYTES + 1} bytes, and at most")
    (tmp_path / "wide.yaml").write_bytes("a: 1\nb: 题".encode("utf-16"))
    assert refused(tmp_path / "wide.yaml") == "FILE line 1 is not UTF-8; save the file again as UTF-8"
    (tmp_path / "mark.yaml").write_bytes("a: 题".encode("utf-8-sig"))
    assert read_yaml(tmp_path / "mark.yaml", "") == {"a": "题"}
