"""HTTP and WebSocket to a server that may be anything: every answer is bounded in size and time.

What goes wrong is a CourseError of one line, whatever the other side sends. Redirects are not followed and proxies of
the environment not asked: the server is the one that was named.
"""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

import websocket

from kolors_course.errors import CourseError

START = "start one with `kolors-course comfyui start`"
ANSWER_LIMIT = 64 << 20  # bytes; thousands of node types take some five million
FILE_LIMIT = 256 << 20
PIECE = 1 << 20
DEADLINE = 10  # times the timeout, for an answer that comes in drops


def one_line(text: object, limit: int = 300) -> str:
    """What a server wrote, as part of a message: printable, on one line, not too long."""
    words = " ".join(str(text)[: 4 * limit].split())
    shown = "".join(letter if letter.isprintable() else "?" for letter in words)
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."


@dataclass(frozen=True)
class Address:
    """Where a server is; `path` is what comes before ComfyUI's own paths, behind a proxy."""

    secure: bool
    host: str
    port: int
    path: str


def read_address(url: str) -> Address:
    """The parts of a server's address.

    Raises:
        CourseError: it is none.
    """
    try:
        if not re.fullmatch(r"[!-~]+", url):
            raise ValueError("it may only hold plain ASCII characters, and no spaces")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it does not begin with http:// and a host")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("it may hold a host, a port and a path only")
        secure = parts.scheme == "https"
        port = parts.port if parts.port is not None else (443 if secure else 80)
        if port == 0:
            raise ValueError("there is no port 0")
        parts.hostname.encode("idna")
    except ValueError as error:  # UnicodeError too
        raise CourseError(
            f"{one_line(url, 80)!r} is no address of a server: {one_line(error, 120)}; "
            "write it like http://127.0.0.1:8188"
        ) from error
    return Address(secure, parts.hostname, port, parts.path.rstrip("/"))


@dataclass(frozen=True)
class Reply:
    """A whole answer to a request."""

    status: int
    reason: str
    kind: str  # its content type, such as application/json
    target: str | None  # of a redirect
    body: bytes


class Connection:
    """One server, by its address; every request opens a connection of its own.

    Args:
        timeout: seconds that the server may be silent; a whole answer may take DEADLINE times as long.

    Raises:
        CourseError: the address is none.
    """

    def __init__(self, url: str, timeout: float):
        self.url = url
        self.timeout = timeout
        self.address = read_address(url)

    def request(self, path: str, body: bytes | None = None, limit: int | None = None) -> Reply:
        """GET `path`, or POST `body` to it.

        Args:
            limit: bytes that the answer may have, ANSWER_LIMIT unless said otherwise.

        Raises:
            CourseError: nobody answers, or not in whole, in time and within the limit.
        """
        kind = HTTPSConnection if self.address.secure else HTTPConnection
        connection = kind(self.address.host, self.address.port, timeout=self.timeout)
        method = "GET" if body is None else "POST"
        try:
            with closing(connection):
                connection.connect()
                with _deadline(connection.sock, DEADLINE * self.timeout):
                    headers = {"Content-Type": "application/json"}
                    connection.request(method, self.address.path + path, body, headers)
                    answer = connection.getresponse()
                    content = _read(answer, limit or ANSWER_LIMIT)
        except (OSError, ValueError, HTTPException) as error:
            reason = one_line(error or type(error).__name__)
            raise CourseError(f"no ComfyUI answers at {self.url}: {reason}; {START}") from error
        content_type = answer.headers.get_content_type()
        return Reply(
            answer.status, one_line(answer.reason), content_type, answer.getheader("Location"), content
        )

    def events(self, path: str, timeout: float) -> websocket.WebSocket:
        """Open a WebSocket; `timeout` is for its messages.

        Raises:
            CourseError: nobody answers, or not as a WebSocket.
        """
        where = self.address
        try:
            line: socket.socket = socket.create_connection((where.host, where.port), timeout=self.timeout)
        except OSError as error:
            raise CourseError(f"no ComfyUI answers at {self.url}: {one_line(error)}; {START}") from error
        try:
            if where.secure:
                line = ssl.create_default_context().wrap_socket(line, server_hostname=where.host)
            host = f"[{where.host}]" if ":" in where.host else where.host
            address = f"{'wss' if where.secure else 'ws'}://{host}:{where.port}{where.path}{path}"
            with _deadline(line, self.timeout):
                events = websocket.create_connection(
                    address, socket=line, class_=BoundedSocket, redirect_limit=0
                )
            status = events.getstatus()
            events.settimeout(timeout)
        except websocket.WebSocketBadStatusException as error:
            status = error.status_code
        except Exception as error:  # the library does not say what it may raise of a senseless answer
            line.close()
            raise CourseError(f"no ComfyUI answers at {self.url}: {one_line(error)}; {START}") from error
        if status != 101:
            line.close()
            raise CourseError(
                f"what answers at {self.url} opens no WebSocket (status {status}): it is no ComfyUI, or a proxy "
                "that lets none through"
            )
        return events


class BoundedSocket(websocket.WebSocket):
    """A WebSocket that takes messages of at most ANSWER_LIMIT bytes: the other side chooses their length."""

    taken = 0

    def recv(self) -> str | bytes:
        message = super().recv()
        self.taken = 0
        return message

    def _recv(self, bufsize: int) -> bytes:
        data = super()._recv(bufsize)
        self.taken += len(data)
        if self.taken > ANSWER_LIMIT:
            raise websocket.WebSocketPayloadException(f"a message of more than {ANSWER_LIMIT} bytes")
        return data


def _read(answer: HTTPResponse, limit: int) -> bytes:
    content = bytearray()
    while piece := answer.read(PIECE):
        content += piece
        if len(content) + (answer.length or 0) > limit:
            raise ValueError(f"its answer has more than {limit} bytes")
    if answer.length:  # known from its headers; http.client itself does not mind
        raise ValueError("its answer was cut off")
    return bytes(content)


@contextmanager
def _deadline(line: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection after so many seconds: the timeout of a socket begins anew with every byte.

    Raises:
        TimeoutError: that has happened.
    """
    passed = threading.Event()

    def cut() -> None:
        passed.set()
        with suppress(OSError):  # it was closed in the meantime
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if passed.is_set():
            raise TimeoutError("its answer took too long") from error
        raise
    finally:
        timer.cancel()
    if passed.is_set():
        raise TimeoutError("its answer took too long")
