"""A checkpoint on disk: torch's archive, sealed with a hash of itself, so that only what was written whole is read.

The seal is the comment at the end of the archive, which is a zip file; other programs read the file as before. A file
without it, or with another hash than its bytes have, is never unpickled.
"""

import hashlib
import io
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from kolors_course.errors import CourseError, is_out_of_memory
from kolors_course.files import atomic_path
from kolors_course.platform.pickles import load_pickle

FORMAT = 2  # of what is in a checkpoint; raise it when that changes
_SEAL = 64  # hex digits of SHA-256
_NO_COMMENT = b"\0\0"  # how a zip file without a comment ends: its length
_BLOCK = 1 << 20

Contents = Mapping[str, type | tuple[type, ...]]


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; it takes the place of the last one only when all of it is on the disk.

    Raises:
        CourseError: it cannot be written, as on a full disk; the last one is kept.
    """
    data = io.BytesIO()
    torch.save({"format": FORMAT, **state}, data)
    body = data.getbuffer()[: -len(_NO_COMMENT)]
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(body)
            file.write(struct.pack("<H", _SEAL) + hashlib.sha256(body).hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CourseError(
            f"cannot write {path}: {error.strerror or error}; the last good checkpoint is kept: make room, then run "
            "the same command again"
        ) from error


def read_checkpoint(path: Path, contents: Contents) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote, on the CPU; None where there is no such file.

    Args:
        contents: what must be in it besides its configuration: name -> type.

    Raises:
        CourseError: it cannot be read, is damaged, or belongs to another kind of run.
    """
    try:
        with path.open("rb") as file:
            whole = _is_whole(file)
        # To the CPU: it may have been written on another device. Whoever loads the state moves it.
        state = load_pickle(path) if whole else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CourseError(
            f"cannot read {path}: {error.strerror or error}; mend that, or use another folder"
        ) from error
    except Exception as error:  # a whole file that torch cannot read: written by another version of it
        if is_out_of_memory(error):
            raise
        raise _damaged(path) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise _damaged(path)
    expected = {"format": int, "config": dict, **contents}
    if state.keys() != expected.keys() or not all(isinstance(state[k], kind) for k, kind in expected.items()):
        raise CourseError(f"{path} belongs to another kind of training run; use another output folder")
    return state


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Within this context a checkpoint is put to use; what does not fit is told as a fault of the file."""
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:150]
        raise CourseError(
            f"{path} does not fit this training run ({reason}): other versions of the libraries wrote it, or it was "
            "changed; remove it to start anew"
        ) from error


def _is_whole(file: Any) -> bool:
    size, digest = file.seek(0, os.SEEK_END), hashlib.sha256()
    left = size - _SEAL - len(_NO_COMMENT)
    if left <= 0:
        return False
    file.seek(0)
    while left:
        block = file.read(min(left, _BLOCK))
        digest.update(block)
        left -= len(block)
    return file.read() == struct.pack("<H", _SEAL) + digest.hexdigest().encode()


def _damaged(path: Path) -> CourseError:
    return CourseError(
        f"{path} is damaged and cannot be resumed (or an older version of this program wrote it); remove it to start "
        "anew"
    )
