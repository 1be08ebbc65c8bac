"""Starting ComfyUI as a process of its own, finding it again, and stopping it.

The server listens on 127.0.0.1 only. What is known of it lies in BASE/server.json, what it says in BASE/server.log.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

import kolors_course
from kolors_course.comfyui.client import ComfyClient
from kolors_course.comfyui.install import Installation
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder

HOST, PORT = "127.0.0.1", 8188
NODES = Path(__file__).with_name("nodes")
FOLDERS = ("custom_nodes", "input", "models/loras", "output", "user")
PATIENCE = 300  # seconds until it must answer; slow disks take a minute to import torch


@dataclass(frozen=True)
class Server:
    """A running ComfyUI. `created` is the start time of its process, because numbers of processes are used again."""

    port: int
    pid: int
    created: float

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def log_file(base: Path) -> Path:
    return base / "server.log"


def running_server(base: Path) -> Server | None:
    """The server that works in `base`, or None."""
    try:
        server = Server(**json.loads(_state(base).read_text(encoding="utf-8")))
        process = psutil.Process(server.pid)
        # A killed child of this very process stays in the table until somebody asks for its exit status.
        alive = process.create_time() == server.created and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, psutil.NoSuchProcess, ValueError, TypeError):
        return None
    return server if alive else None


def start_server(installation: Installation, port: int | None = None, flags: tuple[str, ...] = ()) -> Server:
    """The server that works in the installation's base folder: the running one, or a new one once it answers.

    Args:
        port: None takes 8188, or any free port when that one is taken.
        flags: further flags for ComfyUI's main.py, such as --cpu.

    Raises:
        CourseError: the port is taken, or ComfyUI does not start; its log is named.
    """
    base = installation.base
    server = running_server(base)
    if server:
        if port not in (None, server.port):
            raise CourseError(
                f"ComfyUI already runs at {server.url}; stop it first: kolors-course comfyui stop"
            )
        return server
    prepare_base(base)
    port = _choose_port(port)
    package = str(Path(kolors_course.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
    with log_file(base).open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in _command(installation, port, flags)],
            cwd=base,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in this terminal is not meant for it
        )
    server = Server(port, process.pid, psutil.Process(process.pid).create_time())
    with atomic_path(_state(base)) as path:
        path.write_text(json.dumps(asdict(server)), encoding="utf-8")
    _wait_until_it_answers(process, server, base)
    return server


def stop_server(base: Path, patience: float = 10) -> bool:
    """Stop the server that works in `base`, with all its processes; False where none was running."""
    server = running_server(base)
    _state(base).unlink(missing_ok=True)
    return server is not None and end_process(server.pid, patience)


def end_process(pid: int, patience: float = 10) -> bool:
    """End a process and those that it started: kindly, then by force; False where it was gone already."""
    try:
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return False
    for member in family:
        _signal(member.terminate)
    _, alive = psutil.wait_procs(family, timeout=patience)
    for member in alive:
        _signal(member.kill)
    psutil.wait_procs(alive, timeout=patience)
    return True


def prepare_base(base: Path) -> None:
    """Make the folders that a server needs, with our nodes linked into custom_nodes."""
    for name in FOLDERS:
        ensure_folder(base / name)
    link = base / "custom_nodes" / "kolors_course"
    if link.is_symlink() and link.resolve() == NODES:
        return
    if link.is_symlink():
        link.unlink()
    try:
        link.symlink_to(NODES, target_is_directory=True)
    except OSError:  # Windows allows links to administrators only
        shutil.copytree(NODES, link, dirs_exist_ok=True)


def _command(installation: Installation, port: int, flags: tuple[str, ...]) -> list[str | Path]:
    base = installation.base
    return [
        *(installation.python, "-m", "kolors_course.comfyui.launch", installation.code / "main.py"),
        *("--listen", HOST, "--port", str(port)),
        *("--base-directory", base),
        *("--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}"),  # by default it lies with the code
        "--disable-api-nodes",  # paid services; without them the page asks nobody but its own server
        *flags,
    ]


def _signal(send) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return  # it ended by itself in the meantime


def _state(base: Path) -> Path:
    return base / "server.json"


def _choose_port(port: int | None) -> int:
    if port is not None and not _is_free(port):
        raise CourseError(f"port {port} is taken by another program; leave --port out to take any free one")
    if port is not None or _is_free(PORT):
        return port or PORT
    with socket.socket() as any_free:
        any_free.bind((HOST, 0))
        return any_free.getsockname()[1]


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        if os.name != "nt":
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself will do
        try:
            attempt.bind((HOST, port))
        except OSError:
            return False
    return True


def _wait_until_it_answers(process: subprocess.Popen, server: Server, base: Path) -> None:
    client = ComfyClient(server.url)
    begin = time.monotonic()
    while not client.answers():
        ended = process.poll() is not None
        if ended or time.monotonic() - begin > PATIENCE:
            stop_server(base)
            lines = log_file(base).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            happened = "ended at once" if ended else f"did not answer within {PATIENCE} seconds"
            last = lines[-1] if lines else "nothing"
            raise CourseError(f"ComfyUI {happened}; it said last: {last}; all of it is in {log_file(base)}")
        time.sleep(0.2)
