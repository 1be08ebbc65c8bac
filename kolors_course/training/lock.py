"""One training at a time in one folder."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from kolors_course.errors import CourseError
from kolors_course.files import ensure_folder


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for one training run; nothing of the lock is left in it afterwards.

    The system itself frees the lock when the process ends, however it ends: a killed training does not block
    the next one.

    Raises:
        CourseError: another training run holds the folder, or it cannot be written to.
    """
    path = ensure_folder(folder) / ".lock"
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise CourseError(
            f"another training run is active in {folder}; wait for it, or choose another output folder"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it on release; elsewhere filelock never does
            path.unlink()
        lock.release()
