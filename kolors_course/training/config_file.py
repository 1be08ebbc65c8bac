"""config.yaml: flags of a LoRA training run by name, written beside its result; `train-lora --config` reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, json_text
from kolors_course.yaml_files import MAX_BYTES, read_yaml

EXAMPLE = "a YAML file with lines such as lora_rank: 16"

ConfigValue = str | list[str | dict[str, str]]


def write_config(path: Path, values: Mapping[str, Any]) -> None:
    """Write flags by name, each value as JSON, which YAML reads as the same."""
    head = (
        "# Repeat this training run: kolors-course train-lora --config THIS_FILE --output_path ANOTHER_FOLDER"
    )
    lines = [f"{flag}: {json_text(value)}" for flag, value in values.items()]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([head, *lines, ""]), encoding="utf-8")


def read_config(path: str | Path) -> dict[str, ConfigValue]:
    """The values of a configuration file, all as text: `name: value`, or a list of values or of mappings.

    Names without a value (or with null) are left out.

    Raises:
        CourseError: see `read_yaml`; or it does not hold names with values, or they are nested deeper.
    """
    content = read_yaml(path, EXAMPLE)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CourseError(f"{path}: give {EXAMPLE}")
    values = {name: _value(f"{path}: {name}", value) for name, value in content.items() if value is not None}
    if sum(map(_length, values.values())) > MAX_BYTES:
        raise CourseError(f"{path}: its aliases grow to more than {MAX_BYTES} characters")
    return values


def _value(where: str, value: object) -> ConfigValue:
    if not isinstance(value, list):
        return _text(where, value)
    return [
        {name: _text(where, part) for name, part in item.items()}
        if isinstance(item, dict)
        else _text(where, item)
        for item in value
    ]


def _text(where: str, value: object) -> str:
    if value is None or isinstance(value, (dict, list)):
        raise CourseError(f"{where}: a single value is expected here")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _length(value: ConfigValue) -> int:
    items = value if isinstance(value, list) else [value]
    return sum(len(item) if isinstance(item, str) else sum(map(len, item.values())) for item in items)
