"""Workflow files of ComfyUI: the two formats, and reading them from JSON or from a picture that carries one.

The page saves the *UI format*: nodes with positions, links as a table, widget values in a row without names. The
server runs the *API format*: node id -> class_type and named inputs, where [node id, slot] is a link.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from kolors_course.errors import CourseError

# Node id -> {"class_type": ..., "inputs": {...}, "_meta": {"title": ...}}
ApiGraph = dict[str, dict[str, Any]]
PICTURES = (".png", ".webp")
MUTED, BYPASSED = 2, 4  # values of a UI node's "mode"


@dataclass(frozen=True)
class UiInput:
    """An input slot of a node on the page; `link` is None while nothing is connected."""

    name: str
    type: str
    link: int | None


@dataclass(frozen=True)
class UiNode:
    id: str
    type: str
    title: str  # empty unless somebody renamed the node
    mode: int
    inputs: tuple[UiInput, ...]
    outputs: tuple[str, ...]  # types
    widgets: list[Any] | dict[str, Any]


@dataclass(frozen=True)
class UiGraph:
    """A page: nodes by id, and where each link comes from (node id, output slot)."""

    nodes: dict[str, UiNode]
    links: dict[int, tuple[str, int]]


def read_workflow(path: str | Path) -> dict[str, Any]:
    """The workflow in a JSON file, or in a picture that ComfyUI saved (its UI format where it has both).

    Raises:
        CourseError: there is no such file, or no workflow in it.
    """
    path = Path(path)
    try:
        text = _text_in_picture(path) if path.suffix.lower() in PICTURES else path.read_text("utf-8-sig")
        workflow = json.loads(text)
    except FileNotFoundError as error:
        raise CourseError(
            f"no workflow {path}; give a JSON file saved by ComfyUI, or one of its pictures"
        ) from error
    except json.JSONDecodeError as error:
        raise CourseError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); save it again from ComfyUI"
        ) from error
    except (UnicodeDecodeError, OSError) as error:
        raise CourseError(f"{path} cannot be read as a workflow: {error}") from error
    if format_of(workflow, str(path)) == "api":
        for node in workflow.values():
            # The server's own note of the state of files then; it would believe it now.
            node.pop("is_changed", None)
    return workflow


def _text_in_picture(path: Path) -> str:
    try:
        with Image.open(path) as picture:
            picture.load()  # text may follow the pixels
            text = picture.info.get("workflow") or picture.info.get("prompt")
    except UnidentifiedImageError as error:
        raise CourseError(f"{path} is not a picture") from error
    if not text:
        raise CourseError(f"{path} carries no workflow: only pictures that ComfyUI itself saved do")
    return text


def format_of(workflow: Any, where: str = "the workflow") -> str:
    """ "ui" or "api".

    Raises:
        CourseError: it is neither.
    """
    if isinstance(workflow, dict) and workflow:
        if isinstance(workflow.get("nodes"), list) and isinstance(workflow.get("links"), list):
            return "ui"
        if all(_is_api_node(node) for node in workflow.values()):
            return "api"
    raise CourseError(
        f"{where} is no ComfyUI workflow: a saved one has 'nodes' and 'links', an exported one (API) has a "
        "'class_type' in every node"
    )


def _is_api_node(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs", {}), dict)
        and isinstance(node.get("_meta", {}), dict)
    )


def read_ui(workflow: dict[str, Any]) -> UiGraph:
    """The nodes and links of a workflow in UI format, of old and new versions of the page.

    Raises:
        CourseError: it has a shape that no version writes, or subgraphs.
    """
    subgraphs = {graph["id"] for graph in (workflow.get("definitions") or {}).get("subgraphs") or []}
    try:
        nodes = [_read_node(node) for node in workflow["nodes"]]
        links = {int(link[0]): (str(link[1]), int(link[2])) for link in map(_link_row, workflow["links"])}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CourseError(f"the workflow is damaged ({error!r}); save it again from ComfyUI") from error
    for node in nodes:
        if node.type in subgraphs:
            raise CourseError(
                f"node {node.id} {node.title!r} is a subgraph: unpack it in ComfyUI, or export the workflow (API)"
            )
    return UiGraph({node.id: node for node in nodes}, links)


def _read_node(node: dict[str, Any]) -> UiNode:
    return UiNode(
        id=str(node["id"]),
        type=node["type"],
        title=node.get("title") or "",
        mode=node.get("mode", 0),
        inputs=tuple(
            UiInput(slot["name"], str(slot["type"]), slot.get("link")) for slot in node.get("inputs") or ()
        ),
        outputs=tuple(str(slot["type"]) for slot in node.get("outputs") or ()),
        widgets=node.get("widgets_values") or [],
    )


def _link_row(link: list | dict[str, Any]) -> list:
    if isinstance(link, dict):
        return [link["id"], link["origin_id"], link["origin_slot"]]
    return link
