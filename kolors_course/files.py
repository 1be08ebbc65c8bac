"""Writing files so that nothing half-written is ever left behind."""

import json
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kolors_course.errors import CourseError, is_whole, printable

# What the functions below, and safetensors, call their temporary files.
_TEMPORARY = re.compile(r"\..+-[0-9a-f]{32}(\.\w+)?|\.tmp[A-Za-z0-9]{6}")


def ensure_folder(folder: str | Path) -> Path:
    """Make `folder` (and parents) and prove that it can be written to.

    Raises:
        CourseError: the folder cannot be made, is a file, or cannot be written to.
    """
    _new_file_mode(Path(folder) / f".write-{uuid.uuid4().hex}")
    return Path(folder)


def check_output(path: str | Path) -> None:
    """Prove that a file can be written to `path`, before the work whose result it holds; nothing is left behind.

    Raises:
        CourseError: `path` is a folder or a device, its folder cannot be made or written to, or its name is too long.
    """
    path = Path(path)
    missing = [folder for folder in path.absolute().parents if not os.path.exists(folder)]
    try:
        _check_target(path)
        _new_file_mode(_temporary(path))
    finally:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


def read_text(path: str | Path, limit: int, example: str) -> str:
    """The text of a small file that somebody else wrote: UTF-8, with or without a byte order mark.

    Args:
        limit: in bytes; a larger file is not read at all.
        example: what to give instead of a file that does not exist, such as "a YAML file such as story.yaml".

    Raises:
        CourseError: no such file, not an ordinary one, unreadable, larger than `limit`, not UTF-8.
    """
    path = Path(path)
    try:
        if not path.is_file():
            fault = "is a folder, not a file" if path.is_dir() else "does not exist"
            if path.exists() and not path.is_dir():
                fault = "is not an ordinary file"
            raise CourseError(f"{path} {fault}; give {example}")
        if (size := path.stat().st_size) > limit:
            raise CourseError(f"{path} has {size} bytes, and at most {limit} are read; give {example}")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CourseError(f"cannot read {path}: {error.strerror or error}; mend its permissions") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise CourseError(f"{path} line {line} is not UTF-8; save the file again as UTF-8") from error


def check_whole_name(path: str | Path) -> None:
    """Refuse a path that is not UTF-8 where safetensors or sentencepiece must open it.

    Raises:
        CourseError: it is not.
    """
    if not is_whole(str(path)):
        raise CourseError(
            f"{path}: its name is not UTF-8, and safetensors cannot open it; rename it or its folder"
        )


def json_text(value: Any, **options: Any) -> str:
    """`value` as JSON that can be written as UTF-8: half characters, as of names, are escaped.

    Args:
        options: of `json.dumps`.
    """
    return printable(json.dumps(value, ensure_ascii=False, **options), backslash="\\\\")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on failure it vanishes.

    The temporary name keeps the suffix, because many writers choose the format from it. Whoever may read new
    files may read this one, although safetensors makes its files private.

    Raises:
        CourseError: `path` is a folder or a device, or its folder cannot be written to.
    """
    path = Path(path)
    _check_target(path)
    temporary = _temporary(path)
    mode = _new_file_mode(temporary)
    try:
        yield temporary
        if not temporary.is_symlink():  # it would be the mode of somebody else's file
            temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.parent / f".{path.stem}-{uuid.uuid4().hex}{path.suffix}"


def _check_target(path: Path) -> None:
    # Unlike Path's own, these say no where a name is too long or a folder may not be looked into.
    if os.path.isdir(path):
        raise CourseError(f"{path} is a folder; give the name of a file to write")
    if os.path.exists(path) and not os.path.isfile(path):  # it would be replaced, as any file
        raise CourseError(f"{path} is a device, not a file; give the name of a file to write")


def _new_file_mode(probe: Path) -> int:
    """Make the file `probe`, and its folder, for a moment, and return its permissions.

    They follow from the process's umask, which cannot be asked for without changing it for a moment.
    """
    folder = probe.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        mode = stat.S_IMODE(probe.stat().st_mode)
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise CourseError(
            f"cannot write to {folder}: {reason}; choose another output folder or mend its permissions"
        ) from error
    return mode


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files of processes that were killed; only where nobody else is writing.

    Raises:
        CourseError: one cannot be removed.
    """
    for path in Path(folder).glob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise CourseError(
                    f"cannot remove {path}: {error.strerror or error}; remove it yourself"
                ) from error
