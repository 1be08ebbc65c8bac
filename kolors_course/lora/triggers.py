"""The words that call a LoRA's style or subject, as its file tells them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from kolors_course.lora.metadata import COURSE_METADATA_KEY


def trigger_words(path: str | Path) -> tuple[str, ...]:
    """What the metadata of a .safetensors file calls its trigger, ours or another program's; often nothing.

    A file without metadata, or that cannot be read, says nothing here: loading it tells what is wrong with it.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        course = json.loads(metadata.get(COURSE_METADATA_KEY, "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError):
        return ()
    return tuple(dict.fromkeys(_triggers({**metadata, COURSE_METADATA_KEY: course})))


def _triggers(entries: Mapping[str, object]) -> Iterator[str]:
    for key, value in entries.items():
        if isinstance(value, Mapping):
            yield from _triggers(value)
        elif isinstance(value, str) and value.strip() and "trigger" in key.lower():
            yield value.strip()
