"""Talking to a ComfyUI server: HTTP to ask and to submit, a WebSocket to follow a run.

The order matters: the WebSocket is opened before a workflow is submitted, or its first messages are lost; and a
run is over when the server says that it executes nothing any more, not at "execution_success", which comes before
the history is written.
"""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import websocket

from kolors_course.comfyui.graph import ApiGraph
from kolors_course.comfyui.schema import NodeSchema, read_schemas
from kolors_course.comfyui.validate import title_of
from kolors_course.errors import CourseError

START = "start one with `kolors-course comfyui start`"
QUIET = 5  # seconds without a message, after which the server is asked whether the run goes on
STOP_ATTEMPTS = 20
PREVIEW_MESSAGE = 1


@dataclass(frozen=True)
class Step:
    """A node has done `value` of `total` steps."""

    node: str
    title: str
    value: int
    total: int


@dataclass(frozen=True)
class Preview:
    """A look at an unfinished picture, as the bytes of a PNG or JPEG file."""

    data: bytes


@dataclass(frozen=True)
class Picture:
    """A picture that a node has saved on the server; `kind` is output, temp or input."""

    node: str
    filename: str
    subfolder: str
    kind: str


class ComfyClient:
    """One server, by its address."""

    def __init__(self, url: str, timeout: float = 30):
        self.url = url.rstrip("/")
        self.timeout = timeout
        # The server is on this machine; a proxy from the environment would not find it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers(self) -> bool:
        """Whether a server is there and ready."""
        try:
            self.get("/system_stats")
        except CourseError:
            return False
        return True

    def schemas(self) -> dict[str, NodeSchema]:
        """The node types it has."""
        return read_schemas(self.get("/object_info"))

    def get(self, path: str) -> Any:
        """The JSON answer to a GET request.

        Raises:
            CourseError: no server answers, or it refuses.
        """
        return json.loads(self._request(path))

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a POST request, None where it is empty.

        Raises:
            CourseError: no server answers, or it refuses.
        """
        answer = self._request(path, json.dumps(body).encode())
        return json.loads(answer) if answer else None

    def picture_bytes(self, picture: Picture) -> bytes:
        """The file of a picture, with the workflow that made it inside."""
        query = {"filename": picture.filename, "subfolder": picture.subfolder, "type": picture.kind}
        return self._request("/view?" + urllib.parse.urlencode(query))

    def run(self, api: ApiGraph, page: dict[str, Any] | None = None) -> Iterator[Step | Preview | Picture]:
        """Run a workflow and tell how it goes; at the end come the pictures. Closing the iterator stops the run.

        Args:
            api: the workflow in API format.
            page: the same in UI format; saved pictures then carry it, and the page can load them.

        Raises:
            CourseError: the server refuses the workflow, a node fails, somebody stops the run, or the
                server goes away.
        """
        client = uuid.uuid4().hex
        address = f"ws{self.url.removeprefix('http')}/ws?clientId={client}"
        try:
            socket = websocket.create_connection(address, timeout=QUIET, http_no_proxy=["*"])
        except (OSError, websocket.WebSocketException) as error:
            raise CourseError(f"no ComfyUI answers at {self.url}: {error}; {START}") from error
        with closing(socket):
            run = self._submit(api, page, client)
            finished = False
            try:
                yield from self._follow(socket, api, run)
                finished = True
            finally:
                if not finished:
                    self._stop(run)
        yield from self._pictures(run)

    def _request(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise CourseError(f"ComfyUI refused {path.split('?')[0]}: {error.code} {error.reason}") from error
        except (OSError, ValueError) as error:
            raise CourseError(f"no ComfyUI answers at {self.url}: {error}; {START}") from error

    def _submit(self, api: ApiGraph, page: dict[str, Any] | None, client: str) -> str:
        body: dict[str, Any] = {"prompt": api, "client_id": client}
        if page:
            body["extra_data"] = {"extra_pnginfo": {"workflow": page}}
        try:
            answer = self.post("/prompt", body)
        except CourseError as error:
            refusal = error.__cause__
            if isinstance(refusal, urllib.error.HTTPError) and refusal.code == 400:
                raise CourseError(explain_refusal(json.loads(refusal.read()), api)) from error
            raise
        if answer["node_errors"]:  # it runs the outputs that are right and leaves out the others
            self._stop(answer["prompt_id"])
            raise CourseError(explain_refusal(answer, api))
        return answer["prompt_id"]

    def _follow(self, socket: websocket.WebSocket, api: ApiGraph, run: str) -> Iterator[Step | Preview]:
        while True:
            try:
                message = socket.recv()
            except websocket.WebSocketTimeoutException:
                if self._is_over(run):
                    return
                continue
            except (OSError, websocket.WebSocketException) as error:
                raise CourseError(
                    f"ComfyUI at {self.url} went away in the middle of the run; see its server.log, then {START}"
                ) from error
            if isinstance(message, bytes):
                # Numbers of 4 bytes each: the kind of message, the kind of picture. Other kinds are texts in nodes.
                if int.from_bytes(message[:4], "big") == PREVIEW_MESSAGE:
                    yield Preview(message[8:])
                continue
            event = json.loads(message) if message else {}
            data = event.get("data") or {}
            if data.get("prompt_id") != run:
                continue
            _raise_failure(event["type"], data, api)
            if event["type"] == "progress":
                node = str(data["node"])
                yield Step(node, title_of(api[node]) if node in api else node, data["value"], data["max"])
            if event["type"] == "executing" and data["node"] is None:
                return

    def _is_over(self, run: str) -> bool:
        """Whether a run is in the history.

        Raises:
            CourseError: it failed, or the server is gone or has forgotten it.
        """
        if self._is_queued(run):
            return False
        if run not in self.get(f"/history/{run}"):
            raise CourseError(
                f"ComfyUI at {self.url} no longer knows this run: was its queue cleared, or it restarted?"
            )
        return True

    def _is_queued(self, run: str) -> bool:
        queue = self.get("/queue")
        return any(item[1] == run for item in queue["queue_running"] + queue["queue_pending"])

    def _stop(self, run: str) -> None:
        """Take a run out of the queue, or interrupt it; nothing to do where the server is gone."""
        for _ in range(STOP_ATTEMPTS):  # a run that is just about to start forgets that it was interrupted
            if not self.answers() or not self._is_queued(run):
                return
            self.post("/queue", {"delete": [run]})
            self.post("/interrupt", {"prompt_id": run})
            time.sleep(0.1)

    def _pictures(self, run: str) -> Iterator[Picture]:
        history = self.get(f"/history/{run}")[run]
        for kind, data in history["status"]["messages"]:
            _raise_failure(kind, data, {})
        for node, output in history["outputs"].items():
            for entry in output.get("images", ()):
                yield Picture(
                    node, entry["filename"], entry.get("subfolder", ""), entry.get("type", "output")
                )


def _raise_failure(kind: str, data: dict[str, Any], api: ApiGraph) -> None:
    """Turn the server's message about the end of a failed run into an error."""
    node = str(data.get("node_id"))
    where = (
        f"node {node} {title_of(api[node])!r}" if node in api else f"node {node} {data.get('node_type')!r}"
    )
    if kind == "execution_error":
        reason = " ".join(str(data["exception_message"]).split())
        raise CourseError(f"{where} failed: {reason or data.get('exception_type')}")
    if kind == "execution_interrupted":
        raise CourseError(f"the run was stopped at {where}")


def explain_refusal(answer: dict[str, Any], api: ApiGraph) -> str:
    """One line out of the server's answer to a workflow that it will not run."""
    lines = []
    for node, report in (answer.get("node_errors") or {}).items():
        for error in report["errors"]:
            name = (error.get("extra_info") or {}).get("input_name")
            where = f"node {node} {title_of(api[node])!r}" + (f", input '{name}'" if name else "")
            details = str(error.get("details") or "").removeprefix(str(name or "")).lstrip(" -,:")
            lines.append(f"{where}: {error['message']}" + (f" ({details})" if details else ""))
    if lines:
        return "; ".join(lines)
    error = answer.get("error") or {}
    return " ".join(
        f"ComfyUI refuses the workflow: {error.get('message')} {error.get('details') or ''}".split()
    )
