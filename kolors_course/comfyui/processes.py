"""Finding and ending processes that another command has started."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from kolors_course.errors import CourseError
from kolors_course.files import ensure_folder

Tell = Callable[[str], None]


@contextmanager
def waiting_lock(path: Path, report: Tell, message: str) -> Iterator[None]:
    """Hold the lock file `path`; `report` is told `message` where another process holds it first.

    The system frees it when its holder ends, however it ends.

    Raises:
        CourseError: its folder cannot be written to, or its disk knows no locks.
    """
    ensure_folder(path.parent)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(message)
            lock.acquire()
    except NotImplementedError as error:
        raise CourseError(
            f"the disk of {path.parent} knows no locks; choose a folder on another disk"
        ) from error
    try:
        yield
    finally:
        lock.release()


def end_process(pid: int, patience: float = 10) -> bool:
    """End a process and those that it started: kindly, then by force; False where it was gone already.

    Raises:
        CourseError: it belongs to another user.
    """
    try:
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return False
    for member in family:
        _signal(member.terminate, pid)
    _, alive = psutil.wait_procs(family, timeout=patience)
    for member in alive:
        _signal(member.kill, pid)
    psutil.wait_procs(alive, timeout=patience)
    return True


def _signal(send: Callable[[], None], pid: int) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return  # it ended by itself in the meantime
    except psutil.AccessDenied as error:
        raise CourseError(f"process {pid} belongs to another user, who must end it") from error


def marked_processes(name: str, value: str) -> list[psutil.Process]:
    """The processes that were started with the environment variable `name` set to `value`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended, or is another user's
            if process.pid != os.getpid() and process.environ().get(name) == value:
                found.append(process)
    return found


def is_alive(pid: int, created: float) -> bool:
    """Whether that process lives; its start time is asked for because numbers are used again."""
    try:
        process = psutil.Process(pid)
        # A killed child of this very process stays in the table until somebody asks for its exit status.
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
