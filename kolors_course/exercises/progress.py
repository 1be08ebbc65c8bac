"""Which exercises a learner has passed: one small file on this machine, of which nothing is sent anywhere."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from filelock import FileLock, Timeout

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder, json_text, read_text
from kolors_course.platform.paths import outputs_dir
from kolors_course.untrusted import Text, parse_json, read_as

Passed = Mapping[str, date]  # the name of a check -> the day on which it was first passed
LARGEST = 2**20  # bytes
PATIENCE = 10  # seconds until another kernel has written
ANEW = "mend it, or start anew with kolors-course progress --forget --yes"


@dataclass(frozen=True)
class _File:
    """What the file says."""

    passed: dict[Text, date]


def progress_file() -> Path:
    """Where it is kept: $KOLORS_COURSE_PROGRESS, or `progress.json` in the folder for results.

    Raises:
        CourseError: there can be no folder for results.
    """
    named = os.environ.get("KOLORS_COURSE_PROGRESS")
    return Path(named) if named else outputs_dir() / "progress.json"


def read_passed() -> Passed:
    """What has been passed so far; names of exercises that the course no longer has are among it.

    Raises:
        CourseError: the file is damaged or cannot be read.
    """
    path = progress_file()
    if not os.path.lexists(path):
        return {}
    try:
        text = read_text(path, LARGEST, "a file")
        return read_as(_File, parse_json(text, str(path)), str(path)).passed
    except CourseError as error:
        raise CourseError(f"{error}; {ANEW}") from error


def note_passed(name: str) -> None:
    """Remember that the exercise of the check `name` was passed today, if it was not before.

    Several kernels may do so at a time: each reads, adds and replaces the file while it holds a lock beside it.

    Raises:
        CourseError: the file is damaged, and stays as it is; or it cannot be written.
    """
    path = progress_file()
    ensure_folder(path.parent)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE):
            passed = read_passed()
            if name not in passed:
                _write(path, {**passed, name: date.today()})
    except Timeout as error:
        raise CourseError(f"another program keeps {path} locked; end it, and run the cell again") from error
    except (OSError, NotImplementedError) as error:  # the latter where a file system knows no locks
        raise CourseError(f"cannot write {path}: {error}; name a file in KOLORS_COURSE_PROGRESS") from error


def _write(path: Path, passed: Passed) -> None:
    days = {name: day.isoformat() for name, day in passed.items()}
    with atomic_path(path) as temporary:
        temporary.write_text(json_text({"passed": days}, indent=2) + "\n", encoding="utf-8")


def forget_passed() -> None:
    """Remove the file, whatever is in it.

    Raises:
        CourseError: it cannot be removed.
    """
    path = progress_file()
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CourseError(f"cannot remove {path}: {error.strerror or error}; remove it yourself") from error
