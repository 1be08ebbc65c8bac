"""From the UI format of a workflow to the API format, as the page itself does when "Run" is pressed.

The page knows its widgets by name; a saved file keeps only their values in a row, so the names have to come from
the server's schemas. Subgraphs unfold, and what exists on the page alone vanishes: notes, reroutes, primitives,
muted nodes, and bypassed nodes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from kolors_course.comfyui.graph import BYPASSED, MUTED, ApiGraph, UiNode, read_ui, subgraphs_of
from kolors_course.comfyui.page_nodes import EVERYWHERE, is_page_only
from kolors_course.comfyui.schema import WIDGET_TYPES, NodeSchema
from kolors_course.comfyui.scopes import Scope, unfold
from kolors_course.comfyui.trace import Tracer, Value, fits
from kolors_course.errors import CourseError

__all__ = ["fits", "is_link", "to_api"]

NAMED = 10  # nodes in one message
EXPORT = "or export the workflow in ComfyUI with Workflow > Export (API)"


def to_api(workflow: dict[str, Any], schemas: Mapping[str, NodeSchema]) -> ApiGraph:
    """A workflow in UI format -> in API format, for a server with these node types.

    Raises:
        CourseError: it is damaged, has a node type that the server lacks (all are named), or wires in a circle of
            nodes that exist on the page alone.
    """
    page = read_ui(workflow)
    definitions = {graph.id: graph for graph in subgraphs_of(page)}
    running = [
        (scope, node)
        for scope in unfold(page)
        for node in scope.graph.nodes
        if node.mode not in (MUTED, BYPASSED)
        and node.type not in definitions
        and not is_page_only(node, schemas)
    ]
    _require_known(running, schemas)
    tracer = Tracer(schemas, definitions)
    api = {scope.path + node.id: _convert(scope, node, tracer, schemas[node.type]) for scope, node in running}
    for node in api.values():
        node["inputs"] = {
            name: value for name, value in node["inputs"].items() if not is_link(value) or value[0] in api
        }
    return api


def is_link(value: Any) -> bool:
    """Whether an input's value in API format is [node id, output slot]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _require_known(running: Iterable[tuple[Scope, UiNode]], schemas: Mapping[str, NodeSchema]) -> None:
    everywhere = [scope.where(node) for scope, node in running if EVERYWHERE.search(node.type)]
    if everywhere:
        raise CourseError(
            f"{_few(everywhere)} gives values to other nodes without wires, as only the page knows: draw the wires, "
            f"{EXPORT}"
        )
    unknown = [scope.where(node) for scope, node in running if node.type not in schemas]
    if unknown:
        raise CourseError(
            f"the server does not know the type of {_few(unknown)}: install the node pack it comes from, {EXPORT} "
            "where the node exists on the page alone"
        )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _convert(scope: Scope, node: UiNode, tracer: Tracer, schema: NodeSchema) -> dict[str, Any]:
    inputs = _widget_values(node, schema)
    for index, slot in enumerate(tracer.slots(node)):
        source = tracer.source(scope, node, index)
        if isinstance(source, Value):
            if slot.type in WIDGET_TYPES:
                inputs[slot.name] = _wrapped(source.value)
        elif source:
            inputs[slot.name] = list(source)
    return {
        "class_type": node.type,
        "inputs": inputs,
        "_meta": {"title": node.title or schema.display_name},
    }


def _widget_values(node: UiNode, schema: NodeSchema) -> dict[str, Any]:
    """The values of a node's widgets by name; those the file does not have take their defaults."""
    if isinstance(node.widgets, dict):
        saved = node.widgets
    else:
        names: list[str | None] = []
        for widget in schema.widgets:
            names += [widget.name, None] if widget.has_control else [widget.name]
        # A file may hold fewer values, of an older node, or more: the page saves its own buttons behind them.
        saved = dict(zip(names, node.widgets, strict=False))
    values = {widget.name: saved.get(widget.name, widget.default) for widget in schema.widgets}
    return {name: _wrapped(value) for name, value in values.items()}


def _wrapped(value: Any) -> Any:
    """A value as the server takes it: a bare list would be a link."""
    return {"__value__": value} if isinstance(value, list) else value
