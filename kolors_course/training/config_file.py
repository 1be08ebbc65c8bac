"""config.yaml: the flags of a LoRA training by name, written beside its result and read by `train-lora --config`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path

LARGEST = 64 * 1024  # bytes
MOST_NODES = 2000

Value = str | list[str | dict[str, str]]


def write_config(path: Path, values: Mapping[str, Any]) -> None:
    """Write flags by name."""
    head = "# Repeat this training run: kolors-course train-lora --config THIS_FILE --output_path ANOTHER_FOLDER\n"
    text = yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False, width=110)
    with atomic_path(path) as temporary:
        temporary.write_text(head + text, encoding="utf-8")


def read_config(path: str | Path) -> dict[str, Value]:
    """The values of a configuration file, all as text: `name: value`, or a list of values or of mappings.

    Lines without a value (or with null) are left out.

    Raises:
        CourseError: no such file, not UTF-8, too large, not YAML, aliases, a name twice, or nested deeper.
    """
    text = _read(Path(path))
    try:
        _check_events(path, text)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = (getattr(error, "problem", None) or "it holds characters that YAML does not allow")[:100]
        raise CourseError(f"{path}{where}: {problem}; write lines such as lora_rank: 16") from error
    if node is None:
        return {}
    return {name: value for name, value in _mapping(path, node, nested=True).items() if value is not None}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise CourseError(f"cannot read the configuration {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CourseError(f"the configuration {path} is not UTF-8 text; save it as UTF-8") from error
    if len(data) > LARGEST:
        raise CourseError(
            f"the configuration {path} is larger than {LARGEST // 1024} KiB; it holds flags by name"
        )
    return text


def _check_events(path: str | Path, text: str) -> None:
    """Refuse what could grow, before it is built."""
    depth = 0
    for i, event in enumerate(yaml.parse(text, Loader=yaml.BaseLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise CourseError(f"{path} line {event.start_mark.line + 1}: aliases (*name) have no place here")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > 3 or i > MOST_NODES:
            line = event.start_mark.line + 1
            raise CourseError(f"{path} line {line}: too deep or too long; write lines such as lora_rank: 16")


def _mapping(path: str | Path, node: yaml.Node, nested: bool = False) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, node, "write lines such as lora_rank: 16")
    values: dict[str, Any] = {}
    for key, value in node.value:
        name = _text(path, key)
        if not name or name in values:
            raise _wrong(path, key, "a name is missing or comes twice")
        values[name] = _value(path, value) if nested else _text(path, value)
    return values


def _value(path: str | Path, node: yaml.Node) -> Any:
    if not isinstance(node, yaml.SequenceNode):
        return _text(path, node)
    items = [
        _mapping(path, item) if isinstance(item, yaml.MappingNode) else _text(path, item)
        for item in node.value
    ]
    return [item for item in items if item is not None]


def _text(path: str | Path, node: yaml.Node) -> str | None:
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(path, node, "a single value is expected here")
    plain = node.style is None
    return None if plain and node.value in ("", "~", "null", "Null", "NULL") else node.value


def _wrong(path: str | Path, node: yaml.Node, text: str) -> CourseError:
    return CourseError(f"{path} line {node.start_mark.line + 1}: {text}")
