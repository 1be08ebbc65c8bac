"""Talking to a ComfyUI server: HTTP to ask and to submit, a WebSocket to follow a run.

The order matters: the WebSocket is opened before a workflow is submitted, or its first messages are lost; and a
run is over when the server says that it executes nothing any more, not at "execution_success", which comes before
the history is written.
"""

import json
import time
import urllib.parse
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import Any

import websocket

from kolors_course.comfyui.answers import (
    NodeProgress,
    Over,
    Picture,
    Preview,
    explain_refusal,
    not_ours,
    read_history,
    read_json,
    read_message,
    read_queue,
    read_submission,
)
from kolors_course.comfyui.connection import FILE_LIMIT, START, Connection, Reply, one_line
from kolors_course.comfyui.graph import ApiGraph
from kolors_course.comfyui.schema import NodeSchema, read_schemas
from kolors_course.errors import CourseError

__all__ = ["ComfyClient", "NodeProgress", "Picture", "Preview", "explain_refusal"]

QUIET = 5  # seconds without a word of the run, after which the server is asked whether it goes on
STOP_ATTEMPTS = 20
FILES = ("image", "video", "audio")  # kinds of content that a server may send for a picture


class ComfyClient:
    """A running ComfyUI server: what it offers, and a workflow run on it.

    Args:
        timeout: seconds that it may be silent.

    Raises:
        CourseError: the address is none.
    """

    def __init__(self, url: str, timeout: float = 30):
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._connection = Connection(self.url, timeout)

    def answers(self) -> bool:
        """Whether a ComfyUI is there and ready."""
        try:
            answer = self.get("/system_stats")
        except CourseError:
            return False
        return isinstance(answer, dict) and "system" in answer

    def schemas(self) -> dict[str, NodeSchema]:
        """The node types it has.

        Raises:
            CourseError: no server answers, it refuses, or it is no ComfyUI.
        """
        answer = self.get("/object_info")
        try:
            schemas = read_schemas(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise not_ours(self._where("/object_info")) from error
        if not schemas:
            raise not_ours(self._where("/object_info"))
        return schemas

    def get(self, path: str) -> Any:
        """The JSON answer to a GET request.

        Raises:
            CourseError: no server answers, it refuses, or it answers something else.
        """
        return read_json(self._accepted(path, self._connection.request(path)).body, self._where(path))

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a POST request, None where it is empty.

        Raises:
            CourseError: no server answers, it refuses, or it answers something else.
        """
        reply = self._accepted(path, self._connection.request(path, json.dumps(body).encode()))
        return read_json(reply.body, self._where(path)) if reply.body else None

    def picture_bytes(self, picture: Picture) -> bytes:
        """The file of a picture, with the workflow that made it inside.

        Raises:
            CourseError: no server answers, it refuses, or what it sends is no picture.
        """
        query = {"filename": picture.filename, "subfolder": picture.subfolder, "type": picture.kind}
        try:
            path = "/view?" + urllib.parse.urlencode(query)
        except UnicodeEncodeError as error:  # half a character
            raise not_ours(f"the name of a picture at {self.url}") from error
        reply = self._accepted(path, self._connection.request(path, limit=FILE_LIMIT))
        known = reply.kind.split("/")[0] in FILES or reply.kind == "application/octet-stream"
        if not (known and reply.body):
            raise CourseError(
                f"{self._where(path)} is no picture, but {len(reply.body)} bytes of {reply.kind}"
            )
        return reply.body

    def run(
        self, api: ApiGraph, page: dict[str, Any] | None = None
    ) -> Generator[NodeProgress | Preview | Picture]:
        """Run a workflow and tell how it goes; at the end come the pictures. Closing the iterator stops the run.

        Args:
            api: the workflow in API format.
            page: the same in UI format; saved pictures then carry it, and the page can load them.

        Raises:
            CourseError: the server refuses the workflow, a node fails, somebody stops the run, or the
                server goes away or does not speak as ComfyUI does.
        """
        client = uuid.uuid4().hex
        with closing(self._connection.events(f"/ws?clientId={client}", QUIET)) as socket:
            run = self._submit(api, page, client)
            finished = False
            try:
                yield from self._follow(socket, api, run)
                finished = True
            finally:
                if not finished:
                    self._stop(run)
        pictures = self._pictures(run)
        if pictures is None:
            raise CourseError(f"ComfyUI at {self.url} has forgotten this run: was its history cleared?")
        yield from pictures

    def _where(self, path: str) -> str:
        return f"what {self.url} answers to {path.split('?')[0]}"

    def _accepted(self, path: str, reply: Reply) -> Reply:
        """The reply, if it is the one that was asked for."""
        if 200 <= reply.status < 300:
            return reply
        where = path.split("?")[0]
        if reply.target and 300 <= reply.status < 400:
            raise CourseError(
                f"{self.url} leads on to {one_line(reply.target, 120)}: give that server's address, or log in first"
            )
        said = one_line(reply.body.decode("utf-8", "replace")) if reply.kind == "text/plain" else ""
        raise CourseError(
            f"{self.url} refused {where}: {reply.status} {reply.reason}{said and f': {said}'}; is it a ComfyUI "
            "that you may use?"
        )

    def _submit(self, api: ApiGraph, page: dict[str, Any] | None, client: str) -> str:
        body: dict[str, Any] = {"prompt": api, "client_id": client}
        if page:
            body["extra_data"] = {"extra_pnginfo": {"workflow": page}}
        reply = self._connection.request("/prompt", json.dumps(body).encode())
        where = self._where("/prompt")
        if reply.status == 400:
            raise CourseError(explain_refusal(read_json(reply.body, where), api))
        answer = read_json(self._accepted("/prompt", reply).body, where)
        run, refused = read_submission(answer, where)
        if refused:  # it runs the outputs that are right and leaves out the others
            self._stop(run)
            raise CourseError(explain_refusal(answer, api))
        return run

    def _follow(
        self, socket: websocket.WebSocket, api: ApiGraph, run: str
    ) -> Iterator[NodeProgress | Preview]:
        heard = time.monotonic()
        while True:
            try:
                message = socket.recv()
            except websocket.WebSocketTimeoutException:
                message = ""
            except (OSError, ValueError, websocket.WebSocketException) as error:
                raise CourseError(
                    f"ComfyUI at {self.url} went away in the middle of the run ({one_line(error, 100)}); "
                    f"see its server.log, then {START}"
                ) from error
            event = read_message(message, run, api, f"a message of {self.url}")
            if isinstance(event, Over):
                return
            if isinstance(event, NodeProgress | Preview):
                yield event
            if event and not isinstance(event, Preview):  # a preview does not say of which run it is
                heard = time.monotonic()
            # Its last message may be lost, and those of other runs go on.
            elif time.monotonic() - heard >= QUIET:
                if self._is_over(run):
                    return
                heard = time.monotonic()

    def _is_over(self, run: str) -> bool:
        """Whether a run is in the history.

        Raises:
            CourseError: it failed, or the server is gone or has forgotten it.
        """
        if self._is_queued(run):
            return False
        if self._pictures(run) is None:
            raise CourseError(
                f"ComfyUI at {self.url} no longer knows this run: was its queue cleared, or it restarted?"
            )
        return True

    def _is_queued(self, run: str) -> bool:
        return run in read_queue(self.get("/queue"), self._where("/queue"))

    def _stop(self, run: str) -> None:
        """Take a run out of the queue, or interrupt it; nothing to do where the server is gone."""
        quick = ComfyClient(self.url, timeout=min(self.timeout, QUIET))
        with suppress(CourseError):  # what ended the run is the error to tell
            for _ in range(
                STOP_ATTEMPTS
            ):  # a run that is just about to start forgets that it was interrupted
                if not quick._is_queued(run):
                    return
                quick.post("/queue", {"delete": [run]})
                quick.post("/interrupt", {"prompt_id": run})
                time.sleep(0.1)

    def _pictures(self, run: str) -> Iterator[Picture] | None:
        path = "/history/" + urllib.parse.quote(run, safe="", errors="replace")
        return read_history(self.get(path), run, self._where("/history"))
