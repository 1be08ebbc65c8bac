"""A server on 127.0.0.1 that answers as a test tells it to, rightly or not: HTTP and WebSocket."""

import json
import struct
import time
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from pages import OBJECT_INFO

RUN = "run-1"
PNG = b"\x89PNG\r\n\x1a\nnot a picture, but nobody looks"


def event(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "data": {"prompt_id": RUN, **data}})


@dataclass(frozen=True)
class Raw:
    """Bytes in place of a whole answer, in pieces with a pause after each; the connection is closed after them."""

    pieces: tuple[bytes, ...]
    pause: float = 0


@dataclass
class Answers:
    """What a ComfyUI would say of one workflow that it has run; tests replace parts of it."""

    http: dict[str, Any] = field(
        default_factory=lambda: {
            "/system_stats": {"system": {"comfyui_version": "0.3.75"}, "devices": []},
            "/object_info": OBJECT_INFO,
            "/prompt": {"prompt_id": RUN, "number": 1, "node_errors": {}},
            "/queue": {"queue_running": [], "queue_pending": []},
            "/history": {
                RUN: {
                    "outputs": {"4": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}},
                    "status": {
                        "status_str": "success",
                        "messages": [["execution_start", {"prompt_id": RUN}]],
                    },
                }
            },
            "/view": (200, "image/png", PNG),
        }
    )
    # After the handshake; bytes are binary messages, Raw is sent without a frame.
    events: list[str | bytes | Raw] = field(
        default_factory=lambda: [
            json.dumps({"type": "status", "data": {"status": {}, "sid": "x"}}),
            event("progress", node="3", value=1, max=2),
            struct.pack(">II", 1, 2) + PNG,
            event("executing", node=None),
        ]
    )
    socket: Raw | None = None  # in place of the handshake
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    answers: Answers

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        path = "/" + self.path.split("?")[0].split("/")[1]
        self.answers.asked.append(path)
        self._talk() if path == "/ws" else self._reply(self.answers.http.get(path))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def _reply(self, answer: Any) -> None:
        if isinstance(answer, Raw):
            return self._send(answer)
        status, kind, body = answer if isinstance(answer, tuple) else (200, "application/json", answer)
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return self.wfile.write(body)

    def _send(self, raw: Raw) -> None:
        self.close_connection = True
        for piece in raw.pieces:
            self.wfile.write(piece)
            time.sleep(raw.pause)

    def _talk(self) -> None:
        self.close_connection = True
        if self.answers.socket:
            return self._send(self.answers.socket)
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = b64encode(sha1(key.encode()).digest()).decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.wfile.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        while "/prompt" not in self.answers.asked:
            time.sleep(0.001)
        for message in self.answers.events:
            self._send(message if isinstance(message, Raw) else Raw((frame(message),)))
        return None


def frame(message: str | bytes) -> bytes:
    """One message of a server, as RFC 6455 frames it."""
    data = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
    size = len(data)
    length = bytes([size]) if size < 126 else struct.pack(">BH", 126, size)
    return bytes([0x81 if isinstance(message, str) else 0x82]) + length + data


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client left in the middle, which is its right."""


@contextmanager
def stand_in(answers: Answers):
    """The address of a server that gives these answers."""
    handler = type("Handler", (_Handler,), {"answers": answers})
    server = _Server(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
