"""Following the wires of a page from an input back to what feeds it when the server runs the workflow.

On the way lie what exists on the page alone (reroutes, Set and Get, primitives), bypassed nodes, whose inputs are
handed through to their outputs, and the borders of subgraphs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kolors_course.comfyui.graph import BYPASSED, Link, Slot, Subgraph, UiNode
from kolors_course.comfyui.page_nodes import GETTERS, PRIMITIVE, is_page_only
from kolors_course.comfyui.schema import ANY, NodeSchema
from kolors_course.comfyui.scopes import INPUTS, Scope
from kolors_course.errors import CourseError, brief

MEND = "connect it anew in ComfyUI"
INSTEAD = "-1"  # as the node of a promoted field: the value that the subgraph's own node keeps


@dataclass(frozen=True)
class Input:
    """An input of a node, on the way from a node back to what feeds it.

    Attributes:
        wanted: the type that the end of the way takes.
        kept: what fields of subgraphs say that were passed, in case those outside say nothing.
    """

    scope: Scope
    node: UiNode
    slot: int
    wanted: str
    kept: "Value | None" = None


@dataclass(frozen=True)
class Output:
    """An output of a node, on that way."""

    scope: Scope
    node: UiNode
    slot: int
    wanted: str


@dataclass(frozen=True)
class Value:
    """The end of a way at a field of the page, not at a node of the server."""

    value: Any


# Where a way ends: id and output of a node that the server knows, a value, or nothing.
Source = tuple[str, int] | Value | None


class Tracer:
    """Ways through the wires of one page.

    Args:
        schemas: the node types of the server.
        definitions: the subgraphs of the page, by id.
    """

    def __init__(self, schemas: Mapping[str, NodeSchema], definitions: Mapping[str, Subgraph]):
        self._schemas, self._definitions = schemas, definitions
        self._found: dict[tuple[Any, ...], Source] = {}

    def slots(self, node: UiNode) -> tuple[Slot, ...]:
        """The inputs of a node in the order of the page: those of its type, then others that the file has."""
        schema, definition = self._schemas.get(node.type), self._definitions.get(node.type)
        if schema is None:
            return _slots_of_host(node, definition) if definition else node.inputs
        saved = {slot.name: slot for slot in node.inputs}
        defined = (
            Slot(entry.name, entry.type, saved[entry.name].link if entry.name in saved else None)
            for entry in schema.inputs
        )
        return (*defined, *(slot for slot in node.inputs if schema.find(slot.name) is None))

    def source(self, scope: Scope, node: UiNode, slot: int) -> Source:
        """Where the value of an input comes from, through subgraphs, reroutes and nodes that are off.

        Raises:
            CourseError: the way runs in a circle, or ends where nothing is.
        """
        place: Input | Output | Source = Input(scope, node, slot, self.slots(node)[slot].type)
        passed = set()
        while isinstance(place, Input | Output):
            key = (type(place), place.scope.path, place.node.id, place.slot, place.wanted)
            if key in passed:
                raise CourseError(
                    f"{scope.where(node)}: its wires run in a circle of reroutes or bypassed nodes at "
                    f"{place.scope.where(place.node)}: remove one of them"
                )
            passed.add(key)
            if key in self._found:
                place = self._found[key]
            else:
                place = self._before_input(place) if isinstance(place, Input) else self._before_output(place)
        # What lies before an output is the same for all who come to it; an input may bring a value along.
        self._found |= {key: place for key in passed if key[0] is Output}
        return place

    def _before_input(self, place: Input) -> Input | Output | Source:
        scope, slots = place.scope, self.slots(place.node)
        if not 0 <= place.slot < len(slots):
            raise CourseError(
                f"{scope.where(place.node)} has no input {brief(place.slot)}, counted from 0, that "
                "its output could take from: remove it, or connect it anew in ComfyUI"
            )
        link = slots[place.slot].link
        if link is None:
            return None
        if link not in scope.links:
            if is_page_only(place.node, self._schemas):  # the page itself leaves such behind in subgraphs
                return None
            raise CourseError(
                f"{scope.where(place.node)}: link {brief(link)} comes from nowhere: connect that input again in "
                "ComfyUI"
            )
        return self._before_link(scope, scope.links[link], place.wanted, place.kept)

    def _before_link(
        self, scope: Scope, link: Link, wanted: str, kept: Value | None = None
    ) -> Input | Output | Source:
        """Where a link comes from; one from a subgraph's inputs comes from outside."""
        if link.origin_id == INPUTS and scope.host and scope.parent:
            slots, slot = self.slots(scope.host), link.origin_slot
            if not 0 <= slot < len(slots):
                raise CourseError(
                    f"{scope.parent.where(scope.host)} has no input {brief(slot)}, counted from 0: {MEND}"
                )
            kept = self._promoted_value(scope, scope.host, slot) or kept
            if slots[slot].link is None:
                return kept
            return Input(scope.parent, scope.host, slot, slots[slot].type, kept)
        if link.origin_id not in scope.nodes:
            raise CourseError(
                f"link {brief(scope.path + link.id)} comes from nowhere: connect that input again in ComfyUI"
            )
        return Output(scope, scope.nodes[link.origin_id], link.origin_slot, wanted)

    def _before_output(self, place: Output) -> Input | Output | Source:
        scope, node, slot = place.scope, place.node, place.slot
        if node.type == PRIMITIVE:
            return Value(node.first_value) if node.widgets else None
        if node.mode == BYPASSED:
            return self._handed_through(place)
        if node.id in scope.inner:
            inside = scope.inner[node.id]
            link = inside.outgoing.get(slot)
            return self._before_link(inside, link, place.wanted) if link else None
        if node.type in GETTERS and is_page_only(node, self._schemas):
            return Input(*_setter(scope, node), 0, place.wanted)
        if is_page_only(node, self._schemas):
            return Input(scope, node, slot, place.wanted)
        return scope.path + node.id, slot

    def _handed_through(self, place: Output) -> Input | None:
        """The input that stands in for an output of a bypassed node: the one beside it, else the first that fits."""
        slot, wanted = place.slot, place.wanted
        if not 0 <= slot < len(place.node.outputs):
            raise CourseError(
                f"{place.scope.where(place.node)} has no output {brief(slot)}, counted from 0: {MEND}"
            )
        types = [entry.type for entry in self.slots(place.node)]
        given = self._output_type(place.node, slot)
        fitting = [i for i, kind in enumerate(types) if fits(kind, given) and fits(kind, wanted)]
        if wanted == ANY:
            candidates = [slot] if slot < len(types) else [0] if types else []
        elif slot in fitting:
            candidates = [slot]
        else:
            candidates = [i for i, kind in enumerate(types) if kind == wanted] + fitting
        return Input(place.scope, place.node, candidates[0], types[candidates[0]]) if candidates else None

    def _output_type(self, node: UiNode, slot: int) -> str:
        schema, definition = self._schemas.get(node.type), self._definitions.get(node.type)
        if schema and slot < len(schema.outputs):
            return schema.outputs[slot]
        outputs = definition.outputs if definition and slot < len(definition.outputs) else node.outputs
        return outputs[slot].type

    def _promoted_value(self, scope: Scope, host: UiNode, slot: int) -> Value | None:
        """What the node of a subgraph has in the field for an input; None where it leaves the inner one alone."""
        ports = scope.graph.inputs if isinstance(scope.graph, Subgraph) else ()
        name = ports[slot].name if slot < len(ports) else ""
        if isinstance(host.widgets, dict):
            value = host.widgets.get(name)
            return None if value is None else Value(value)
        proxies = [tuple(map(str, proxy[:2])) for proxy in host.properties.proxies]
        if (INSTEAD, name) in proxies:
            place = proxies.index((INSTEAD, name))
        else:
            fields = [port.name for i, port in enumerate(ports) if self._is_field(scope, i)]
            place = fields.index(name) if name in fields else len(host.widgets)
        value = host.widgets[place] if place < len(host.widgets) else None
        return None if value is None else Value(value)

    def _is_field(self, scope: Scope, slot: int) -> bool:
        """Whether an input of a subgraph leads to a field that can be filled in."""
        for link in scope.incoming.get(slot, ()):
            node = scope.nodes.get(link.target_id)
            entry = next((entry for entry in node.inputs if entry.link == link.id), None) if node else None
            if node is None or entry is None:
                continue
            schema = self._schemas.get(node.type)
            known = schema.find(entry.name) if schema else None
            if known.is_widget if known else entry.widget is not None:
                return True
        return False


def _slots_of_host(node: UiNode, definition: Subgraph) -> tuple[Slot, ...]:
    """The inputs of a subgraph's node, one for each of the subgraph's, found by name, else by place.

    Files in pictures leave out those that nothing is connected to.
    """
    saved = {slot.name: slot for slot in node.inputs}
    names = {port.name for port in definition.inputs}
    beside = dict(enumerate(node.inputs))
    return tuple(
        saved.get(port.name)
        or (beside[i] if i in beside and beside[i].name not in names else replace(port, link=None))
        for i, port in enumerate(definition.inputs)
    )


def _setter(scope: Scope, getter: UiNode) -> tuple[Scope, UiNode]:
    """The setter of the same name, in the graph of the getter or around it."""
    name = str(getter.first_value)
    around: Scope | None = scope
    while around is not None:
        if name in around.setters:
            return around, around.setters[name]
        around = around.parent
    raise CourseError(
        f"{scope.where(getter)} gets {brief(name)!r}, which nothing sets: choose another name in ComfyUI"
    )


def fits(given: str, wanted: str) -> bool:
    """Whether an output of type `given` may be connected to an input of type `wanted` ("A,B" is A or B)."""
    if ANY in (given, wanted):
        return True
    return not _kinds(given).isdisjoint(_kinds(wanted))


def _kinds(types: str) -> set[str]:
    return {kind.strip().lower() for kind in types.split(",")}
