"""Starting ComfyUI as a process of its own, finding it again, and stopping it.

The server listens on 127.0.0.1 only. What it says lies in BASE/server.log; BASE/server.lock lets one command at a
time start or end it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

import kolors_course
from kolors_course.comfyui.client import ComfyClient
from kolors_course.comfyui.install import Installation
from kolors_course.comfyui.lookup import Server, running_server, server_command
from kolors_course.comfyui.ports import choose_port, is_free, listens
from kolors_course.comfyui.processes import Tell, end_process, waiting_lock
from kolors_course.comfyui.users import Users, forget_users, read_users, write_users
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder

NODES = Path(__file__).with_name("nodes")
FOLDERS = ("custom_nodes", "input", "models/loras", "output", "user")
PATIENCE = 300  # seconds until it must answer; slow disks take a minute to import torch
ATTEMPTS = 3  # another program may take the port in the seconds until the server does
STOP = "stop it first: kolors-course comfyui stop"


def log_file(base: Path) -> Path:
    return base / "server.log"


def start_server(
    installation: Installation,
    port: int | None = None,
    flags: tuple[str, ...] = (),
    *,
    welcome: Sequence[str] = (),
    report: Tell = lambda line: None,
) -> Server:
    """The server that works in the installation's base folder, once it answers: the running one, or a new one.

    Args:
        port: None takes 8188, or any free port when that one is taken.
        flags: further flags for ComfyUI's main.py, such as --cpu.
        welcome: names of proxies that show its page (see guard.py).
        report: is told when another command is just starting or ending it, which is waited for.

    Raises:
        CourseError: the port is taken, a server runs with another port or other flags, or ComfyUI does not start;
            its log is named.
    """
    with _lock(installation.base, report):
        server = running_server(installation.base)
        if server is None:
            return _new_server(installation, port, flags, welcome, Users())
        missing = [flag for flag in flags if flag not in server.flags]
        if missing or port not in (None, server.port):
            lacks = f", without {' '.join(missing)}" if missing else ""
            raise CourseError(f"ComfyUI already runs at {server.url}{lacks}; {STOP}")
        _wait_for_found(server, installation.base)
        users = read_users(installation.base)
        write_users(installation.base, Users(stays=True, runs=users.runs))
        return server


@contextmanager
def borrowed_server(
    base: Path,
    installation: Installation | None,
    flags: tuple[str, ...] = (),
    report: Tell = lambda line: None,
) -> Iterator[Server]:
    """The running server of `base`, or a new one, which ends with the last of those that borrow it.

    Args:
        installation: what to start; None uses a running server only.

    Raises:
        CourseError: ComfyUI does not start, or has just been stopped.
    """
    with _lock(base, report):
        server = running_server(base)
        if server:
            _wait_for_found(server, base)
            write_users(base, read_users(base).joined())
        elif installation:
            report(
                "starting a ComfyUI for this run; with `kolors-course comfyui start` it stays for the next"
            )
            server = _new_server(installation, None, flags, (), Users(stays=False).joined())
        else:
            raise CourseError("ComfyUI was stopped just now; run the same command again")
    try:
        yield server
    finally:
        with _lock(base, report):
            users = read_users(base).left()
            if users.is_needed:
                write_users(base, users)
            else:
                _end(base)
                forget_users(base)


def stop_server(base: Path, patience: float = 10) -> bool:
    """Stop the server that works in `base`, with all its processes; False where none was running.

    One that another command is just starting is ended too, and that command says so.

    Raises:
        CourseError: it belongs to another user, or that other command does not end.
    """
    stopped = _end(base, patience)
    begin = time.monotonic()
    while base.is_dir():
        try:
            with FileLock(_lock_file(base), timeout=0.2):
                stopped = _end(base, patience) or stopped
                forget_users(base)
                break
        except Timeout:
            stopped = _end(base, patience) or stopped
            if time.monotonic() - begin > PATIENCE:
                raise CourseError(
                    f"another command holds {_lock_file(base)}; end that command first"
                ) from None
    return stopped


def _end(base: Path, patience: float = 10) -> bool:
    server = running_server(base)
    return server is not None and end_process(server.pid, patience)


def _lock_file(base: Path) -> Path:
    return base / "server.lock"


def _lock(base: Path, report: Tell) -> AbstractContextManager[None]:
    message = f"another command is just starting or stopping the ComfyUI of {base}; waiting for it"
    return waiting_lock(_lock_file(base), report, message)


def prepare_base(base: Path) -> None:
    """Make the folders that a server needs, with our nodes linked into custom_nodes."""
    for name in FOLDERS:
        ensure_folder(base / name)
    link = base / "custom_nodes" / "kolors_course"
    if link.is_symlink() and link.resolve() == NODES:
        return
    try:
        with atomic_path(link) as new:
            new.symlink_to(NODES, target_is_directory=True)
    except OSError:  # Windows allows links to administrators only; or somebody has put a folder there
        if link.is_symlink():
            link.unlink()
        shutil.copytree(NODES, link, dirs_exist_ok=True)


def _new_server(
    installation: Installation, port: int | None, flags: Sequence[str], welcome: Sequence[str], users: Users
) -> Server:
    """Start one, and wait until it answers; where that fails, nothing is left running."""
    base = installation.base
    prepare_base(base)
    for _ in range(ATTEMPTS):
        chosen = choose_port(port)
        write_users(base, users)  # before the server is there, so that it is never without
        process = _launch(installation, server_command(installation, chosen, flags, welcome))
        try:
            created = psutil.Process(process.pid).create_time()
            server = Server(chosen, process.pid, created, tuple(flags))
            if _wait_until_it_answers(process, server, base):
                return server
        except BaseException:  # Ctrl-C too
            end_process(process.pid)
            raise
        if port is not None or is_free(chosen):
            break
    mend = f"; if a package is missing, remove {installation.python.parents[1]} and start again"
    raise CourseError(_obituary(process.returncode, base, mend))


def _launch(installation: Installation, command: list[str | Path]) -> subprocess.Popen:
    base = installation.base
    package = str(Path(kolors_course.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
    with log_file(base).open("wb") as log:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=base,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in this terminal is not meant for it
        )


def _wait_until_it_answers(process: subprocess.Popen, server: Server, base: Path) -> bool:
    """Whether it answers; False where it has ended.

    Raises:
        CourseError: it does neither for too long.
    """
    client = ComfyClient(server.url, timeout=5)
    begin = time.monotonic()
    while not (client.answers() and listens(server.pid, server.port)):
        if process.poll() is not None:
            return False
        if time.monotonic() - begin > PATIENCE:
            said = f"it said last: {_last_words(base)}; all of it is in {log_file(base)}"
            raise CourseError(f"ComfyUI did not answer within {PATIENCE} seconds; {said}")
        time.sleep(0.2)
    return True


def _wait_for_found(server: Server, base: Path) -> None:
    """Wait for a server that another command started, and that may be on its way still."""
    client = ComfyClient(server.url, timeout=5)
    begin = time.monotonic()
    while not client.answers():
        if running_server(base) != server:
            raise CourseError(_obituary(None, base))
        if time.monotonic() - begin > PATIENCE:
            raise CourseError(
                f"ComfyUI runs (process {server.pid}) but does not answer at {server.url}; {STOP}"
            )
        time.sleep(0.2)


def _obituary(status: int | None, base: Path, mend: str = "") -> str:
    """What is said of a server that ended while it started; `status` is negative where a signal ended it."""
    if status is not None and status < 0:
        return (
            f"ComfyUI was ended by signal {-status} while it started: somebody stopped it, or memory ran out; "
            f"what it said is in {log_file(base)}"
        )
    return f"ComfyUI ended at once; it said last: {_last_words(base)}; all of it is in {log_file(base)}{mend}"


def _last_words(base: Path) -> str:
    with log_file(base).open("rb") as log:
        log.seek(-min(4096, log.seek(0, os.SEEK_END)), os.SEEK_END)
        lines = log.read().decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "nothing"
