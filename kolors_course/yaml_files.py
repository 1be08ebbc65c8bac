"""YAML that somebody else wrote, read strictly: plain values only, and bounded before it grows.

A storyboard or a configuration needs lists, mappings, texts, numbers, true, false and null. Tags (`!!int`) are
refused. Aliases and merges are followed as long as they stay small: a few hundred bytes of them can stand for a
billion entries. Plain words mean what YAML 1.2 says (its core schema): `1e-4` is a number, `no` and `2024-05-01` are
texts.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from kolors_course.errors import CourseError, brief
from kolors_course.files import read_text

MAX_BYTES = 2**18  # a long storyboard has 4 kB; PyYAML takes seconds for what is much larger
MAX_DEPTH = 20
MAX_NODES = 20_000
MAX_DIGITS = 40
_CORE = "tag:yaml.org,2002:"


class YamlFault(CourseError):
    """YAML that is not read; the message begins with file, line and column."""


def read_yaml(path: str | Path, example: str) -> object:
    """The content of a YAML file; None where it is empty.

    Args:
        example: "a YAML file such as ...", for the message where there is no such file.

    Raises:
        CourseError: no such file, unreadable, larger than `MAX_BYTES`, not UTF-8; see `parse_yaml`.
    """
    return parse_yaml(read_text(path, MAX_BYTES, example), str(path))


def parse_yaml(text: str, where: str) -> object:
    """A value of dict (with keys of text), list, str, int, finite float, bool and None.

    Args:
        where: what messages call the text, usually its file.

    Raises:
        YamlFault: not YAML, larger or deeper than it may be, a tag, a key that is no text or stands there twice, a
            character or number that no program can use.
    """
    if len(text) > MAX_BYTES:
        raise YamlFault(f"{where}: {len(text)} characters are too many; at most {MAX_BYTES} are read")
    loader = None
    try:
        loader = _PlainLoader(text)
        return loader.get_single_data()
    except _RefusedError as error:
        raise YamlFault(f"{where} {_place(error.problem_mark)}: {error.problem}") from error
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark)
        problem = ", ".join(filter(None, (error.context, error.problem)))
    except yaml.reader.ReaderError as error:
        place = f"line {text.count(chr(10), 0, error.position) + 1}"
        problem = f"character U+{error.character:04X} is not allowed"
    except (ValueError, OverflowError) as error:  # the scanner's, such as for "\UFFFFFFFF"
        place, problem = f"line {loader.line + 1}" if loader else "line 1", str(error)
    advice = "check the indentation, and put texts with ': ' or '#' in quotes"
    raise YamlFault(f"{where} {place}: not valid YAML ({problem[:120]}); {advice}")


def _place(mark: yaml.Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that is refused, with its own advice."""

    def __init__(self, problem: str, mark: Any):
        super().__init__(problem=problem, problem_mark=mark)


class _PlainLoader(yaml.SafeLoader):
    """Judges what an event says before the event becomes a node, and counts nodes as often as they are repeated."""

    def __init__(self, text: str):
        super().__init__(text)
        self.depth = self.nodes = 0
        self.anchored: dict[str, int] = {}  # finished nodes with a name -> how many nodes they hold

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event, before = self.peek_event(), self.nodes
        self._judge(event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(event, yaml.AliasEvent):
            return node
        if event.anchor:
            self.anchored[event.anchor] = self.nodes - before
        if isinstance(node, yaml.ScalarNode) and (wrong := self.NON_PRINTABLE.search(node.value)):
            raise _RefusedError(f"character U+{ord(wrong[0]):04X} is not allowed in a text", node.start_mark)
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return node

    def _judge(self, event: yaml.NodeEvent) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchored:
                name = brief(event.anchor)
                raise _RefusedError(f"the alias '{name}' means nothing that is finished before it", mark)
            self.nodes += self.anchored[event.anchor]
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            tag = brief(event.tag.replace(_CORE, "!!"))
            raise _RefusedError(f"the tag '{tag}' is not read; write the value without it", mark)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _RefusedError(f"more than {MAX_NODES} values, those of aliases included", mark)
        if self.depth == MAX_DEPTH:
            raise _RefusedError(f"nested more than {MAX_DEPTH} deep; check the brackets", mark)

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_DIGITS:
            raise _RefusedError(f"a number of {len(node.value)} digits is too long", node.start_mark)
        return int(node.value, 0 if node.value[:2] in ("0x", "0o") else 10)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        value = float(node.value)
        if not math.isfinite(value):
            raise _RefusedError(f"the number '{brief(node.value)}' is too large", node.start_mark)
        return value


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if key.tag not in (f"{_CORE}str", f"{_CORE}merge"):
            raise _RefusedError("a key must be text; put it in quotes", key.start_mark)
        if key.value in seen:
            raise _RefusedError(f"not valid YAML (key '{brief(key.value)}' is written twice)", key.start_mark)
        seen.add(key.value)


_PlainLoader.yaml_implicit_resolvers = {}  # in place of YAML 1.1's, those of 1.2
for _name, _pattern, _first, _method in (
    ("merge", "<<", ["<"], yaml.SafeLoader.construct_undefined),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""], yaml.SafeLoader.construct_yaml_null),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF"), yaml.SafeLoader.construct_yaml_bool),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789"), _PlainLoader.construct_whole),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
        _PlainLoader.construct_number,
    ),
):
    _tag = _CORE + _name
    _PlainLoader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})\\Z"), _first)
    _PlainLoader.add_constructor(_tag, _method)
