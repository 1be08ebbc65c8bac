"""What a ComfyUI says of runs, read out of its answers: each function knows the one shape that it accepts.

What no ComfyUI would say is a CourseError; unknown additions are passed over, because the protocol grows.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kolors_course.comfyui.connection import one_line
from kolors_course.comfyui.graph import ApiGraph
from kolors_course.comfyui.validate import title_of
from kolors_course.errors import CourseError

PREVIEW_MESSAGE = 1
MOST_ERRORS = 20  # in one message


@dataclass(frozen=True)
class NodeProgress:
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


@dataclass(frozen=True)
class Over:
    """The server executes nothing of the run any more."""


@dataclass(frozen=True)
class Sign:
    """A run goes on, in a way that needs no words."""


def read_json(content: bytes | str, where: str) -> Any:
    """JSON that a server has sent; `where` says what it was.

    Raises:
        CourseError: it is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError too
        start = content[:40] if isinstance(content, str) else content[:40].decode("latin-1")
        raise CourseError(
            f"{where} is not ComfyUI's: no JSON, it begins with {one_line(start, 40)!r}; is another program there?"
        ) from error


def not_ours(where: str) -> CourseError:
    return CourseError(f"{where} does not have the shape of ComfyUI's; is another program there?")


def read_message(
    message: str | bytes, run: str, api: ApiGraph, where: str
) -> NodeProgress | Preview | Over | Sign | None:
    """What a message of the WebSocket means for the run; None where it is about something else.

    Raises:
        CourseError: it is no JSON, or says that the run has failed or was stopped.
    """
    if isinstance(message, bytes):
        # Numbers of 4 bytes each: the kind of message, the kind of picture. Other kinds are texts in nodes.
        is_preview = int.from_bytes(message[:4], "big") == PREVIEW_MESSAGE and len(message) > 8
        return Preview(message[8:]) if is_preview else None
    match read_json(message, where) if message else None:
        case {"type": str(kind), "data": {"prompt_id": str(theirs)} as data} if theirs == run:
            raise_failure(kind, data, api)
            return _read_event(kind, data, api)
    return None


def _read_event(kind: str, data: dict[str, Any], api: ApiGraph) -> NodeProgress | Over | Sign:
    match kind, data:
        case "executing", {"node": None}:
            return Over()
        case "progress", {
            "node": str() | int() as node,
            "value": int() | float() as value,
            "max": int() | float() as total,
        }:
            if math.isfinite(value) and math.isfinite(total):
                return NodeProgress(one_line(node), _name(str(node), api), int(value), int(total))
    return Sign()


def _name(node: str, api: ApiGraph) -> str:
    return one_line(title_of(api[node]) if node in api else node, 80)


def raise_failure(kind: str, data: dict[str, Any], api: ApiGraph) -> None:
    """Turn the server's message about the end of a failed run into an error."""
    node = one_line(data.get("node_id"), 80)
    title = title_of(api[node]) if node in api else data.get("node_type")
    where = f"node {node} {one_line(title, 80)!r}"
    if kind == "execution_error":
        reason = one_line(data.get("exception_message") or "", 1000) or one_line(data.get("exception_type"))
        raise CourseError(f"{where} failed: {reason}")
    if kind == "execution_interrupted":
        raise CourseError(f"the run was stopped at {where}")


def read_submission(answer: Any, where: str) -> tuple[str, bool]:
    """The number of a run, and whether parts of its workflow were refused."""
    match answer:
        case {"prompt_id": str(run)} if run:
            return run, bool(answer.get("node_errors"))
    raise not_ours(where)


def read_queue(answer: Any, where: str) -> set[str]:
    """The runs that wait or go on."""
    match answer:
        case {"queue_running": list(running), "queue_pending": list(pending)}:
            entries = [*running, *pending]
            if all(isinstance(entry, list) and len(entry) > 1 for entry in entries):
                return {entry[1] for entry in entries if isinstance(entry[1], str)}
    raise not_ours(where)


def read_history(answer: Any, run: str, where: str) -> Iterator[Picture] | None:
    """The pictures of a run that is over; None where the server does not know it.

    Raises:
        CourseError: the run has failed, or the answer is not ComfyUI's.
    """
    if not isinstance(answer, dict):
        raise not_ours(where)
    match answer.get(run):
        case None:
            return None
        case {"outputs": dict(outputs), "status": {"messages": list(messages)}}:
            for message in messages:
                match message:
                    case [str(kind), dict(data)]:
                        raise_failure(kind, data, {})
            return _pictures(outputs, where)
    raise not_ours(where)


def _pictures(outputs: dict[str, Any], where: str) -> Iterator[Picture]:
    for node, output in outputs.items():
        match output:
            case {"images": list(entries)}:
                yield from (_read_picture(node, entry, where) for entry in entries)


def _read_picture(node: str, entry: Any, where: str) -> Picture:
    match entry:
        case {"filename": str(name)}:
            match entry.get("subfolder", ""), entry.get("type", "output"):
                case str(subfolder), str(kind):
                    return Picture(node, name, subfolder, kind)
    raise not_ours(f"the picture of node {one_line(node, 80)} in {where}")


def explain_refusal(answer: Any, api: ApiGraph) -> str:
    """One line out of the server's answer to a workflow that it will not run."""
    lines = []
    match answer:
        case {"node_errors": dict(reports)}:
            lines = [_refusal(node, error, api) for node, error in _errors(reports)]
    if lines:
        more = [f"and {len(lines) - MOST_ERRORS} more"] if len(lines) > MOST_ERRORS else []
        return "; ".join([*lines[:MOST_ERRORS], *more])
    match answer:
        case {"error": {"message": str(message), **rest}}:
            return one_line(f"ComfyUI refuses the workflow: {message} {rest.get('details') or ''}")
    return "ComfyUI refuses the workflow and does not say why"


def _errors(reports: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for node, report in reports.items():
        match report:
            case {"errors": list(errors)}:
                yield from ((node, error) for error in errors if isinstance(error, dict))


def _refusal(node: str, error: dict[str, Any], api: ApiGraph) -> str:
    match error:
        case {"extra_info": {"input_name": str(name)}}:
            shown = f", input '{one_line(name, 80)}'"
        case _:
            name = shown = ""
    title = title_of(api[node]) if node in api else "?"
    details = one_line(error.get("details") or "").removeprefix(name).lstrip(" -,:")
    message = one_line(error.get("message") or "it does not say why")
    return f"node {one_line(node, 80)} {one_line(title, 80)!r}{shown}: {message}" + (
        f" ({details})" if details else ""
    )
