"""Reports of commands for other programs. Apart from options.py, so that doctor runs where diffusers cannot."""

from pathlib import Path
from typing import Any

from kolors_course.files import atomic_path, json_text


def write_json(path: Path | None, report: dict[str, Any]) -> None:
    """Write `report`, where --json names a file.

    Raises:
        CourseError, OSError: the file cannot be written.
    """
    if path:
        text = json_text(report, indent=2)
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
