"""How a browser on another machine reaches a server that listens on 127.0.0.1 only."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kolors_course.comfyui.connection import one_line
from kolors_course.comfyui.processes import end_process, marked_processes
from kolors_course.errors import CourseError

# Every notebook of Aliyun DSW, and so of ModelScope, lives below such a path of its gateway.
DSW = re.compile(r"/dsw-?\d+/")
TUNNEL = re.compile(r"https://[\w-]+\.trycloudflare\.com")
MARK = "KOLORS_COURSE_TUNNEL"  # the address that a tunnel leads to, in the environment of its process


def read_origin(text: str) -> tuple[str, str]:
    """The address of a proxy's page, without its path, and the name of its host.

    Raises:
        CourseError: it is no address.
    """
    address = re.fullmatch(r"(https?://((?:[a-z0-9_-]+\.)*[a-z0-9_-]+)(?::\d{1,5})?)(?:/.*)?", text.lower())
    if address is None:
        shown = one_line(text, 80)
        raise CourseError(f"--origin {shown!r} is no address of a page: write it like https://host.example")
    return address[1], address[2]


def gateway_path(port: int, runtime: Path | None = None) -> str | None:
    """Where the gateway of a ModelScope notebook shows `port` to whoever is logged in, such as /dsw-12/proxy/8188/.

    It begins after the host in the address of the notebook's own page. None outside such notebooks.

    Args:
        runtime: the folder in which Jupyter notes its running servers.
    """
    runtime = runtime or _jupyter_runtime()
    for note in sorted(runtime.glob("jpserver-*.json")) if runtime else ():
        base = DSW.search(_base_url(note))
        if base:
            return f"{base[0]}proxy/{port}/"
    return None


def _base_url(note: Path) -> str:
    """What a Jupyter server noted as the path of its pages; empty where the note cannot be read."""
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["base_url"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _jupyter_runtime() -> Path | None:
    if importlib.util.find_spec("jupyter_core") is None:
        return None
    from jupyter_core.paths import jupyter_runtime_dir

    return Path(jupyter_runtime_dir())


@contextmanager
def public_tunnel(url: str) -> Iterator[str]:
    """Open a tunnel from the public internet to `url` and yield its address; leaving closes it.

    Whoever knows the address can use the server, without a password.

    Raises:
        CourseError: cloudflared is not installed, or it ends without naming an address.
    """
    program = shutil.which("cloudflared")
    if program is None:
        raise CourseError(
            "a public tunnel needs the program cloudflared: install it, or use an SSH tunnel instead"
        )
    command = [program, "tunnel", "--no-autoupdate", "--url", url]
    environment = {**os.environ, MARK: url}
    process = subprocess.Popen(
        command,
        text=True,
        errors="replace",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        address = _announced(process)
        # It goes on talking, and would stand still once the pipe is full.
        threading.Thread(target=deque, args=(process.stdout, 0), daemon=True).start()
        yield address
    finally:
        end_process(process.pid)


def close_tunnels(url: str) -> bool:
    """End the tunnels that lead to `url`, also those that a killed command left open; whether there were any."""
    tunnels = marked_processes(MARK, url)
    for process in tunnels:
        end_process(process.pid)
    return bool(tunnels)


def _announced(process: subprocess.Popen) -> str:
    lines = []
    for line in process.stdout or ():
        address = TUNNEL.search(line)
        if address:
            return address[0]
        lines.append(line.strip())
    said = one_line(lines[-1]) if lines else "it said nothing"
    raise CourseError(
        f"cloudflared ended without an address: {said}; check the network, or use an SSH tunnel"
    )
