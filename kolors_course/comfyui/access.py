"""How a browser on another machine reaches a server that listens on 127.0.0.1 only."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kolors_course.comfyui.server import end_process
from kolors_course.errors import CourseError

# Every notebook of Aliyun DSW, and so of ModelScope, lives below such a path of its gateway.
DSW = re.compile(r"/dsw-?\d+/")
TUNNEL = re.compile(r"https://[\w-]+\.trycloudflare\.com")


def gateway_path(port: int, runtime: Path | None = None) -> str | None:
    """Where the gateway of a ModelScope notebook shows `port` to whoever is logged in, such as /dsw-12/proxy/8188/.

    It begins after the host in the address of the notebook's own page. None outside such notebooks.

    Args:
        runtime: the folder in which Jupyter notes its running servers.
    """
    runtime = runtime or _jupyter_runtime()
    for note in sorted(runtime.glob("jpserver-*.json")) if runtime else ():
        base = DSW.search(json.loads(note.read_text(encoding="utf-8")).get("base_url", ""))
        if base:
            return f"{base[0]}proxy/{port}/"
    return None


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
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield _announced(process)
    finally:
        end_process(process.pid)
        process.stdout.close()


def _announced(process: subprocess.Popen) -> str:
    lines = []
    for line in process.stdout:
        address = TUNNEL.search(line)
        if address:
            return address[0]
        lines.append(line.strip())
    raise CourseError(f"cloudflared ended without an address: {lines[-1] if lines else 'it said nothing'}")
