"""Who needs the server of a base folder: it stays, or goes with the last command that uses it.

Kept in BASE/server.json; whoever reads or writes it holds the lock of that folder.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from kolors_course.comfyui.processes import is_alive
from kolors_course.files import atomic_path


@dataclass(frozen=True)
class Users:
    """`runs` are processes: number and start time. What is not known to be temporary stays."""

    stays: bool = True
    runs: tuple[tuple[int, float], ...] = ()

    def joined(self) -> "Users":
        """The users with this process among them, once more than before."""
        return replace(self, runs=(*self.runs, _me()))

    def left(self) -> "Users":
        """The users with this process once less than before, and without those that have ended."""
        runs = [run for run in self.runs if is_alive(*run)]
        if _me() in runs:
            runs.remove(_me())
        return replace(self, runs=tuple(runs))

    @property
    def is_needed(self) -> bool:
        return self.stays or bool(self.runs)


def _me() -> tuple[int, float]:
    return os.getpid(), psutil.Process().create_time()


def read_users(base: Path) -> Users:
    """What was written last; a server whose note is lost or damaged stays."""
    try:
        note = json.loads(_note(base).read_text(encoding="utf-8"))
        runs = tuple((int(pid), float(created)) for pid, created in note["runs"])
        return Users(bool(note["stays"]), runs)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return Users()


def write_users(base: Path, users: Users) -> None:
    with atomic_path(_note(base)) as path:
        path.write_text(json.dumps(asdict(users)), encoding="utf-8")


def forget_users(base: Path) -> None:
    _note(base).unlink(missing_ok=True)


def _note(base: Path) -> Path:
    return base / "server.json"
