"""Finding the mistakes in a workflow (API format) before a server does, and naming them better.

The server stops at the first unknown node type, says nothing about where a circle of links is, reports a link
to an absent node as a KeyError, and runs what is left when one of two outputs is wrong. Here every mistake is
found, with its node, title and input.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kolors_course.comfyui.convert import fits, is_link
from kolors_course.comfyui.graph import ApiGraph
from kolors_course.comfyui.schema import ANY, WIDGET_TYPES, InputSchema, NodeSchema
from kolors_course.errors import CourseError, brief

NAMED = 20  # problems in one message
COMPARED = 200  # characters of a name when similar ones are looked for
UPLOADS = ("image_upload", "video_upload", "audio_upload")


@dataclass(frozen=True)
class Problem:
    """One mistake; `node` is empty where it is the workflow's as a whole, `input` where it is the node's."""

    message: str
    node: str = ""
    title: str = ""
    input: str = ""

    def __str__(self) -> str:
        where = f"node {brief(self.node)} {brief(self.title)!r}" if self.node else "workflow"
        return (
            f"{where}, input '{brief(self.input)}': {self.message}"
            if self.input
            else f"{where}: {self.message}"
        )


def require_valid(api: ApiGraph, schemas: dict[str, NodeSchema]) -> None:
    """Let a workflow pass that a server with these node types would run.

    Raises:
        CourseError: it has problems; all are named, or the first of many.
    """
    problems = find_problems(api, schemas)
    if problems:
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise CourseError("; ".join(map(str, problems[:NAMED])) + more)


def find_problems(api: ApiGraph, schemas: dict[str, NodeSchema]) -> list[Problem]:
    """All mistakes in a workflow, in the order of its nodes; empty when there are none."""
    problems = [problem for identity in api for problem in _problems_of_node(identity, api, schemas)]
    problems += _problems_of_circles(api)
    if not any(
        node["class_type"] in schemas and schemas[node["class_type"]].is_output for node in api.values()
    ):
        problems.append(
            Problem("nothing would come out: add a node that saves or previews, such as SaveImage")
        )
    return problems


def title_of(node: dict[str, Any]) -> str:
    """How a person knows a node: its title on the page, else its type."""
    return (node.get("_meta") or {}).get("title") or node["class_type"]


def _problems_of_node(identity: str, api: ApiGraph, schemas: dict[str, NodeSchema]) -> Iterator[Problem]:
    node = api[identity]
    title = title_of(node)
    schema = schemas.get(node["class_type"])
    if schema is None:
        yield Problem(
            f"no node type {brief(node['class_type'])!r}{_nearest(node['class_type'], schemas)}",
            identity,
            title,
        )
        return
    inputs = node.get("inputs") or {}
    for entry in schema.inputs:
        if entry.name not in inputs:
            message = _complaint_of_absence(entry)
        elif isinstance(inputs[entry.name], list):
            message = _complaint_of_link(inputs[entry.name], entry, api, schemas)
        else:
            message = _complaint_of_value(inputs[entry.name], entry)
        if message:
            yield Problem(message, identity, title, entry.name)


def _complaint_of_absence(entry: InputSchema) -> str:
    if not entry.required:
        return ""
    return "it has no value" if entry.is_widget else f"nothing is connected; it takes {entry.type}"


def _complaint_of_link(link: list, entry: InputSchema, api: ApiGraph, schemas: dict[str, NodeSchema]) -> str:
    if not is_link(link) or not isinstance(link[1], int):
        return f'{brief(link)} is no link: write ["node id", slot]'
    source, slot = link
    if source not in api:
        return f"it is linked to node {brief(source)}, which does not exist"
    schema = schemas.get(api[source]["class_type"])
    if schema is None:
        return ""  # a problem of that node
    whose = f"node {brief(source)} {brief(title_of(api[source]))!r}"
    if not 0 <= slot < len(schema.outputs):
        return f"{whose} has {len(schema.outputs)} outputs, counted from 0, so no output {brief(slot)}"
    if not fits(schema.outputs[slot], entry.type):
        return f"it takes {entry.type}; output {slot} of {whose} is {schema.outputs[slot]}"
    return ""


def _complaint_of_value(value: Any, entry: InputSchema) -> str:
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if entry.type in ("INT", "FLOAT"):
        return _complaint_of_number(value, entry)
    if entry.type == "COMBO":
        uploaded = any(entry.settings.get(key) for key in UPLOADS)
        if entry.options is None or uploaded or value in entry.options:
            return ""
        if not entry.options:
            return f"{brief(repr(value))} is not there: the server offers nothing here; is a model or file missing?"
        return f"{brief(repr(value))} is none of its {len(entry.options)} choices{_nearest(value, entry.options)}"
    takes_values = {ANY, *WIDGET_TYPES} & set(entry.type.split(","))
    return "" if takes_values else f"{brief(repr(value))} is a value; connect {entry.type} instead"


def _complaint_of_number(value: Any, entry: InputSchema) -> str:
    try:
        number = (int if entry.type == "INT" else float)(value)
    except (TypeError, ValueError, OverflowError):
        return (
            f"{brief(repr(value))} is no number"
            if entry.type == "FLOAT"
            else f"{brief(repr(value))} is no whole number"
        )
    low, high = (entry.bound(name) for name in ("min", "max"))
    if low is not None and number < low:
        return f"{brief(number)} is less than {low}, the least it takes"
    if high is not None and not number <= high:  # also not a number at all
        return f"{brief(number)} is more than {high}, the most it takes"
    return ""


def _nearest(name: Any, known: Any) -> str:
    """A hint at what may have been meant: the most similar names, or all of a few."""
    names = [str(entry)[:COMPARED] for entry in known]
    close = difflib.get_close_matches(str(name)[:COMPARED], names, n=3, cutoff=0.6)
    if not close and len(names) <= 8:
        close = names
    return f"; there is {', '.join(map(brief, close))}" if close else ""


def _problems_of_circles(api: ApiGraph) -> Iterator[Problem]:
    """A node whose output reaches back to itself can never run: one problem for each circle."""
    done: set[str] = set()
    for start in api:
        circle = _circle_from(start, api, done)
        if circle:
            path = " -> ".join(f"{brief(key)} {brief(title_of(api[key]))!r}" for key in circle[:NAMED])
            yield Problem(f"its links run in a circle: {path}", circle[0], title_of(api[circle[0]]))


def _circle_from(start: str, api: ApiGraph, done: set[str]) -> list[str]:
    """The first circle met on the way up the links from `start`; nodes in `done` are known to lead to none."""
    path: dict[str, None] = {}  # a list that is quick to search
    pending = [iter([start])]
    while pending:
        identity = next(pending[-1], None)
        if identity is None:
            pending.pop()
            if path:
                done.add(path.popitem()[0])
        elif identity in path:
            done.update(path)
            way = list(path)
            return [*way[way.index(identity) :], identity][::-1]
        elif identity in api and identity not in done:
            path[identity] = None
            pending.append(iter(_sources(api[identity])))
    return []


def _sources(node: dict[str, Any]) -> list[str]:
    return [value[0] for value in (node.get("inputs") or {}).values() if is_link(value)]
