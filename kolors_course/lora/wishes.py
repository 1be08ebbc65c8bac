"""How a LoRA wants to be drawn: entries of its file's metadata that go before the model's own `sampling.json`.

    "kolors_course": {…, "sampling": {"steps": 4, "guidance_scale": 1.0, "made_by": {…}}}

It stays in files that are made of this one. What a file does not name is left to the model; of several LoRAs the last
that names something is followed.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from kolors_course.files import json_text
from kolors_course.kolors.settings import Sampling, check_said, said_by
from kolors_course.lora.metadata import COURSE_METADATA_KEY, read_json_entry
from kolors_course.lora.storage import about, write_metadata

SAMPLING_ENTRY = "sampling"


def wish_in(course: Mapping[str, Any]) -> dict[str, Any]:
    """What the course's own entry says of sampling; often nothing.

    Raises:
        CourseError: it says it wrongly, see `check_said`.
    """
    return check_said(course.get(SAMPLING_ENTRY, {}), f"its entry {SAMPLING_ENTRY}")


def sampling_wish(path: str | Path) -> dict[str, Any]:
    """What a LoRA file wants of the settings of `Sampling`.

    A file without metadata, or that cannot be read, wants nothing here: loading it tells what is wrong with it.

    Raises:
        CourseError: see `wish_in`; or the course's entry is no JSON.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError):
        return {}
    with about(Path(path)):
        return wish_in(read_json_entry(metadata, COURSE_METADATA_KEY))


def wish_text(wish: Mapping[str, Any]) -> str:
    """For a line: "steps 4, guidance_scale 1"."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in wish.items()
    )


def with_wishes(sampling: Sampling, paths: Iterable[str | Path]) -> Sampling:
    """`sampling` with what these LoRA files want, the last of them going before the others.

    Raises:
        CourseError: see `sampling_wish`.
    """
    for path in paths:
        sampling = sampling.but(**sampling_wish(path))
    return sampling


def write_wish(path: str | Path, sampling: Sampling, made_by: Mapping[str, Any] | None = None) -> None:
    """Write into a LoRA's .safetensors file how it wants to be drawn; its tensors keep every bit.

    Raises:
        CourseError: the file cannot be read or written.
    """

    def change(metadata: dict[str, str]) -> dict[str, str]:
        course = read_json_entry(metadata, COURSE_METADATA_KEY) | {SAMPLING_ENTRY: said_by(sampling, made_by)}
        return metadata | {COURSE_METADATA_KEY: json_text(course, sort_keys=True)}

    write_metadata(Path(path), change)
