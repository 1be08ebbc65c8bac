"""The command line of a server, and finding a server by it.

The system's table of processes is the only record of a server: so none is lost, even where the command that started
it was killed at once, and nothing else is ever taken for one. A command line names the base folder.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from kolors_course.comfyui.install import Installation
from kolors_course.comfyui.ports import HOST

LAUNCHER = "kolors_course.comfyui.launch"
END_OF_OURS = "--disable-api-nodes"  # paid services; without them the page asks nobody but its own server


@dataclass(frozen=True)
class Server:
    """A running ComfyUI. `created` is the start time of its process, because numbers of processes are used again."""

    port: int
    pid: int
    created: float
    flags: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def running_server(base: Path) -> Server | None:
    """The server that works in `base`, or None; it may be about to start, and not answer yet."""
    found = [server for process in psutil.process_iter() if (server := _read_process(process, base))]
    return min(
        found, key=lambda server: server.created, default=None
    )  # on Windows it starts itself once more


def _read_process(process: psutil.Process, base: Path) -> Server | None:
    """The server that a process is, if it is one that works in `base`."""
    try:
        words = process.cmdline()
        if LAUNCHER not in words or _value(words, "--base-directory") != _name(base):
            return None
        flags = words[words.index(END_OF_OURS) + 1 :]
        return Server(int(_value(words, "--port")), process.pid, process.create_time(), tuple(flags))
    except (psutil.Error, OSError, ValueError, IndexError):  # gone, another user's, or not started by us
        return None


def _value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def _name(base: Path) -> str:
    """One name for a folder, whatever links lead to it."""
    return os.path.realpath(base)


def server_command(
    installation: Installation, port: int, flags: Sequence[str], welcome: Sequence[str]
) -> list[str | Path]:
    """What starts a server; see `start_server`."""
    base = Path(_name(installation.base))
    return [
        *(installation.python, "-m", LAUNCHER),
        *(word for name in welcome for word in ("--welcome", name)),
        *(installation.code / "main.py", "--listen", HOST, "--port", str(port)),
        *("--base-directory", base),
        *("--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}"),  # by default it lies with the code
        END_OF_OURS,
        *flags,
    ]
