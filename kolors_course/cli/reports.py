"""Reports of commands for other programs. Apart from options.py, so that doctor runs where diffusers cannot."""

from pathlib import Path
from typing import Any

from kolors_course.errors import printable
from kolors_course.files import atomic_path, json_text


def write_json(path: Path | None, report: dict[str, Any]) -> None:
    """Write `report`, where --json names a file.

    Raises:
        CourseError, OSError: the file cannot be written.
    """
    if path:
        text = printable(json_text(report), backslash="\\\\")
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
