"""The port of 127.0.0.1 that a server listens at."""

import errno
import os
import socket

import psutil

from kolors_course.errors import CourseError

HOST, PORT = "127.0.0.1", 8188


def require_port(port: int | None) -> None:
    """Let None and the numbers of ports pass.

    Raises:
        CourseError: it is none.
    """
    if port is not None and not 0 < port < 2**16:
        raise CourseError(
            f"there is no port {port}: choose one from 1024 to {2**16 - 1}, or leave --port out"
        )


def choose_port(port: int | None) -> int:
    """`port` where it is free; for None 8188, or any free one where that is taken.

    Raises:
        CourseError: `port` is no port, is taken, or is kept for administrators.
    """
    if port is None:
        return PORT if _why_not(PORT) is None else _any_free()
    if not 0 < port < 2**16:
        raise CourseError(
            f"there is no port {port}: choose one from 1024 to {2**16 - 1}, or leave --port out"
        )
    hindrance = _why_not(port)
    if hindrance == errno.EACCES:
        raise CourseError(f"port {port} is kept for administrators; leave --port out to take any free one")
    if hindrance is not None:
        raise CourseError(f"port {port} is taken by another program; leave --port out to take any free one")
    return port


def listens(pid: int, port: int) -> bool:
    """Whether it is that process, or one that it started, that listens at `port`."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        sockets = [entry for member in family for entry in member.net_connections(kind="tcp")]
    except psutil.Error:
        return False
    return any(entry.laddr.port == port and entry.status == psutil.CONN_LISTEN for entry in sockets)


def is_free(port: int) -> bool:
    return _why_not(port) is None


def _any_free() -> int:
    with socket.socket() as any_free:
        any_free.bind((HOST, 0))
        return any_free.getsockname()[1]


def _why_not(port: int) -> int | None:
    """The system's error number for listening at `port`."""
    with socket.socket() as attempt:
        if os.name != "nt":
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself will do
        try:
            attempt.bind((HOST, port))
            attempt.listen()
        except OSError as error:
            return error.errno
    return None
