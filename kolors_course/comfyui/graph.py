"""Workflow files of ComfyUI: the two formats, and reading them from JSON or from a picture that carries one.

The page saves the *UI format*: nodes with positions, links as a table, widget values in a row without names. The
server runs the *API format*: node id -> class_type and named inputs, where [node id, slot] is a link.

The dataclasses below are the schema of both; whatever a file holds beside them is of no concern to a run.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from kolors_course.comfyui.embedded import PICTURES, PNG, workflow_in
from kolors_course.comfyui.schema import ANY
from kolors_course.errors import CourseError, brief
from kolors_course.untrusted import MAX_BYTES, Id, Integer, Text, null_means, parse_json, read_as

# Node id -> {"class_type": ..., "inputs": {...}, "_meta": {"title": ...}}
ApiGraph = dict[str, dict[str, Any]]
MUTED, BYPASSED = 2, 4  # values of a UI node's "mode"
SAVE_AGAIN = "save it again from ComfyUI"


def _type_name(value: Any) -> str:
    if value is None or value == "" or value == 0:  # three more ways to say "any"
        return ANY
    if isinstance(value, list):  # old pages wrote the choices where the type stands
        return "COMBO"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("type", "a type is a text")
    return str(value)


def _link_fields(value: Any) -> Any:
    """Links are rows in most files, and objects in subgraphs and in files of other programs."""
    if isinstance(value, list):
        # What a row lacks is found missing by the schema; what stands behind is the type, which the slots know.
        return dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot"), value, strict=False))
    return value


def _values(value: Any) -> Any:
    if value is None or isinstance(value, list | dict):
        return value or []
    raise PydanticCustomError("values", "values are a list or an object")


TypeName = Annotated[str, BeforeValidator(_type_name)]


@dataclass(frozen=True, slots=True)
class Slot:
    """An input or output of a node on the page; `link` is None while nothing is connected to that input."""

    name: Annotated[Text, null_means("")] = ""
    type: TypeName = ANY
    link: Id | None = None
    widget: Any = None  # not None where the input is a field to fill in, too
    links: Annotated[tuple[Id, ...], null_means(()), Field(alias="linkIds")] = ()  # of a subgraph's own


@dataclass(frozen=True, slots=True)
class Properties:
    """Of what else a node keeps: where the values of a subgraph's fields come from, (node id, field) each."""

    proxies: Annotated[list[list[Any]], null_means([]), Field(alias="proxyWidgets")] = field(
        default_factory=list
    )


@dataclass(frozen=True, slots=True)
class UiNode:
    """A node on the page; the title is empty unless somebody renamed it."""

    id: Id
    type: Text
    title: Annotated[Text, null_means("")] = ""
    mode: Annotated[Integer, null_means(0)] = 0
    inputs: Annotated[tuple[Slot, ...], null_means(())] = ()
    outputs: Annotated[tuple[Slot, ...], null_means(())] = ()
    widgets: Annotated[Any, BeforeValidator(_values), Field(alias="widgets_values")] = ()
    properties: Annotated[Properties, null_means({})] = Properties()

    @property
    def first_value(self) -> Any:
        """What a node of one field says; None where it says nothing."""
        values = list(self.widgets.values()) if isinstance(self.widgets, dict) else self.widgets
        return values[0] if values else None

    @property
    def label(self) -> str:
        """How a message names it."""
        return f"{brief(self.title or self.type)!r}"


@dataclass(frozen=True, slots=True)
class Link:
    id: Id
    origin_id: Id
    origin_slot: Integer
    target_id: Annotated[Id, null_means("")] = ""
    target_slot: Annotated[Integer, null_means(0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a file in UI format holds."""

    nodes: tuple[UiNode, ...] = ()
    links: tuple[Annotated[Link, BeforeValidator(_link_fields)], ...] = ()
    definitions: Annotated["Definitions", null_means({})] = field(default_factory=lambda: Definitions())


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgraph(Page):
    """What stands behind all nodes whose type is its id; it has inputs and outputs as a node has."""

    id: Id
    name: Annotated[Text, null_means("")] = ""
    inputs: Annotated[tuple[Slot, ...], null_means(())] = ()
    outputs: Annotated[tuple[Slot, ...], null_means(())] = ()


@dataclass(frozen=True, slots=True)
class Definitions:
    subgraphs: Annotated[tuple[Subgraph, ...], null_means(())] = ()


@dataclass(frozen=True, slots=True)
class Meta:
    title: Annotated[Text, null_means("")] = ""


@dataclass(frozen=True, slots=True)
class ApiNode:
    """A node as the server runs it."""

    class_type: Text
    inputs: dict[str, Any] = field(default_factory=dict)
    meta: Annotated[Meta, Field(alias="_meta")] = Meta()


def read_workflow(path: str | Path) -> dict[str, Any]:
    """The workflow in a JSON file, or in a picture that ComfyUI saved (its UI format where it has both).

    Raises:
        CourseError: there is no such file, or no workflow in it.
    """
    path = Path(path)
    try:
        workflow = workflow_in(path) if _is_picture(path) else _workflow_of_json(path)
    except FileNotFoundError as error:
        raise CourseError(
            f"no workflow {path}; give a JSON file saved by ComfyUI, or one of its pictures"
        ) from error
    except OSError as error:
        raise CourseError(f"{path} cannot be read as a workflow: {error.strerror or error}") from error
    # Of a workflow for the server only what the schema names is kept: the server would believe, too, what another
    # one once noted in it about the state of files ("is_changed").
    return workflow if format_of(workflow, str(path)) == "ui" else read_api(workflow, str(path))


def _is_picture(path: Path) -> bool:
    """Whether a file is a picture by its content, or by its name if the content is no JSON either."""
    with path.open("rb") as file:
        head = file.read(64)
    named = path.suffix.lower() in PICTURES
    return head.startswith((PNG, b"\xff\xd8\xff", b"RIFF", b"<")) or (named and b"{" not in head.lstrip()[:4])


def _workflow_of_json(path: Path) -> Any:
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    return parse_json(text, str(path))


def format_of(workflow: Any, where: str = "the workflow") -> str:
    """ "ui" or "api".

    Raises:
        CourseError: it is neither.
    """
    if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list) and "links" in workflow:
        return "ui"
    try:
        if read_as(dict[str, ApiNode], workflow, "it"):
            return "api"
        reason = "it is empty"
    except CourseError as error:
        reason = str(error)
    raise CourseError(
        f"{where} is no ComfyUI workflow: a saved one has 'nodes' and 'links', an exported one (API) has a "
        f"'class_type' in every node ({reason})"
    )


def read_api(workflow: Any, where: str = "the workflow") -> ApiGraph:
    """A workflow in API format, with inputs and _meta in every node.

    Raises:
        CourseError: it is not of that shape.
    """
    nodes = read_as(dict[str, ApiNode], workflow, where, SAVE_AGAIN)
    return {
        key: {"class_type": node.class_type, "inputs": node.inputs}
        | ({"_meta": {"title": node.meta.title}} if node.meta.title else {})
        for key, node in nodes.items()
    }


def read_ui(workflow: Any, where: str = "the workflow") -> Page:
    """The nodes, links and subgraphs of a workflow in UI format, of old and new versions of the page.

    Raises:
        CourseError: it has a shape that no version writes.
    """
    page = read_as(Page, workflow, where, SAVE_AGAIN)
    for graph in (page, *subgraphs_of(page)):
        for key, times in Counter(node.id for node in graph.nodes).most_common(1):
            if times > 1:
                raise CourseError(f"{where} has two nodes {brief(key)}; {SAVE_AGAIN}")
    return page


def subgraphs_of(page: Page) -> list[Subgraph]:
    """All subgraphs that are defined in a page; one may be defined inside another."""
    return [entry for graph in page.definitions.subgraphs for entry in (graph, *subgraphs_of(graph))]
