"""From the UI format of a workflow to the API format, as the page itself does when "Run" is pressed.

The page knows its widgets by name; a saved file keeps only their values in a row, so the names have to come from
the server's schemas. What exists on the page alone vanishes: notes, reroutes, primitives, muted nodes, and
bypassed nodes, whose inputs are handed through to their outputs.
"""

from typing import Any

from kolors_course.comfyui.graph import BYPASSED, MUTED, ApiGraph, UiGraph, UiNode, read_ui
from kolors_course.comfyui.schema import NodeSchema
from kolors_course.errors import CourseError

REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
PAGE_ONLY = (REROUTE, PRIMITIVE, "Note", "MarkdownNote")
ANY = "*"


def to_api(workflow: dict[str, Any], schemas: dict[str, NodeSchema]) -> ApiGraph:
    """A workflow in UI format -> in API format, for a server with these node types.

    Raises:
        CourseError: a node type that the server lacks (all are named), a subgraph, or links in a circle
            of nodes that exist on the page alone.
    """
    graph = read_ui(workflow)
    running = [
        node
        for node in graph.nodes.values()
        if node.type not in PAGE_ONLY and node.mode not in (MUTED, BYPASSED)
    ]
    _require_known(running, schemas)
    api = {node.id: _convert(node, graph, schemas[node.type]) for node in running}
    for node in api.values():
        node["inputs"] = {
            name: value for name, value in node["inputs"].items() if not is_link(value) or value[0] in api
        }
    return api


def is_link(value: Any) -> bool:
    """Whether an input's value in API format is [node id, output slot]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _require_known(nodes: list[UiNode], schemas: dict[str, NodeSchema]) -> None:
    unknown = [f"node {node.id} {node.title or node.type!r}" for node in nodes if node.type not in schemas]
    if unknown:
        raise CourseError(
            f"the server does not know the type of {', '.join(unknown)}: install the node pack it comes from"
        )


def _convert(node: UiNode, graph: UiGraph, schema: NodeSchema) -> dict[str, Any]:
    inputs = _widget_values(node, schema)
    for slot in node.inputs:
        source = _source_of(graph, slot.link, slot.type, ())
        if isinstance(source, UiNode):
            if source.widgets:
                inputs[slot.name] = source.widgets[0]
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
        names = []
        for widget in schema.widgets:
            names += [widget.name, None] if widget.has_control else [widget.name]
        # A file may hold fewer values, of an older node, or more: the page saves its own buttons behind them.
        saved = dict(zip(names, node.widgets, strict=False))
    values = {widget.name: saved.get(widget.name, widget.default) for widget in schema.widgets}
    # A list would be taken for a link.
    return {
        name: {"__value__": value} if isinstance(value, list) else value for name, value in values.items()
    }


def _source_of(
    graph: UiGraph, link: int | None, wanted: str, passed: tuple[int, ...]
) -> tuple[str, int] | UiNode | None:
    """Where the value at the end of `link` comes from: (node id, slot), a primitive node, or nowhere."""
    if link is None:
        return None
    if link in passed:
        raise CourseError(f"link {link} runs in a circle of reroutes or bypassed nodes: remove one of them")
    if link not in graph.links or graph.links[link][0] not in graph.nodes:
        raise CourseError(f"link {link} comes from nowhere: connect that input again in ComfyUI")
    identity, slot = graph.links[link]
    node = graph.nodes[identity]
    if node.type == PRIMITIVE:
        return node
    if node.type == REROUTE:
        return _source_of(graph, node.inputs[0].link, wanted, (*passed, link))
    if node.mode == BYPASSED:
        matching = _slot_handed_through(node, slot, wanted)
        return (
            None
            if matching is None
            else _source_of(graph, node.inputs[matching].link, wanted, (*passed, link))
        )
    return identity, slot


def _slot_handed_through(node: UiNode, slot: int, wanted: str) -> int | None:
    """The input that stands in for output `slot` of a bypassed node: the same slot, else the first that fits."""
    types = [entry.type for entry in node.inputs]
    if wanted == ANY:
        return (slot if slot < len(types) else 0) if types else None
    if slot < len(types) and fits(types[slot], wanted) and fits(types[slot], node.outputs[slot]):
        return slot
    exact = [i for i, kind in enumerate(types) if kind == wanted]
    close = [i for i, kind in enumerate(types) if fits(kind, wanted) and fits(kind, node.outputs[slot])]
    return next(iter(exact + close), None)


def fits(given: str, wanted: str) -> bool:
    """Whether an output of type `given` may be connected to an input of type `wanted` ("A,B" is A or B)."""
    if ANY in (given, wanted):
        return True
    return bool({kind.strip() for kind in given.split(",")} & {kind.strip() for kind in wanted.split(",")})
