"""What a server says about its node types at /object_info, in one form for old (V1) and new (V3) nodes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from kolors_course.untrusted import Text, null_means, read_as

ANY = "*"
FOLLOWS = "COMFY_MATCHTYPE_V3"  # the type of an output that is that of some input
# Types that the page draws as a field to fill in, rather than as a socket only.
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
SEEDS = ("seed", "noise_seed")


@dataclass(frozen=True)
class InputSchema:
    """One input of a node type."""

    name: str
    type: str  # "COMBO" for every choice from a list
    required: bool
    options: tuple[Any, ...] | None  # of a COMBO; None where the server will not list them
    settings: dict[str, Any]  # default, min, max, forceInput, ...

    @property
    def is_widget(self) -> bool:
        return self.type in WIDGET_TYPES and not self.settings.get("forceInput")

    @property
    def has_control(self) -> bool:
        """Whether the page adds a field of its own ("fixed", "randomize", ...) right after this one.

        It does so for every seed, even where the node never asked for it.
        """
        asked = self.settings.get("control_after_generate")
        return self.is_widget and bool(
            asked if asked is not None else self.type == "INT" and self.name in SEEDS
        )

    def bound(self, name: str) -> float | None:
        """The "min" or "max" of a number; None where the server sets none."""
        bound = self.settings.get(name)
        return bound if isinstance(bound, int | float) else None

    @property
    def default(self) -> Any:
        """What the page fills in: the stated default, the first option, or the type's zero."""
        if "default" in self.settings:
            return self.settings["default"]
        if self.type == "COMBO":
            return self.options[0] if self.options else None
        return {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}.get(self.type)


@dataclass(frozen=True)
class NodeSchema:
    """One node type: inputs in the order of the page, types of outputs."""

    name: str
    display_name: str
    inputs: tuple[InputSchema, ...]
    outputs: tuple[str, ...]
    is_output: bool

    @property
    def widgets(self) -> tuple[InputSchema, ...]:
        return tuple(entry for entry in self.inputs if entry.is_widget)

    def find(self, name: str) -> InputSchema | None:
        return next((entry for entry in self.inputs if entry.name == name), None)


@dataclass(frozen=True, slots=True)
class Groups:
    """The inputs of a node type as the server writes them: [type, settings], [type] or [choices, settings]."""

    required: Annotated[dict[str, Any], null_means({})] = field(default_factory=dict)
    optional: Annotated[dict[str, Any], null_means({})] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    required: Annotated[list[str], null_means([])] = field(default_factory=list)
    optional: Annotated[list[str], null_means([])] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node type in a server's answer to /object_info."""

    input: Annotated[Groups, null_means({})] = field(default_factory=Groups)
    input_order: Annotated[Order, null_means({})] = field(default_factory=Order)
    output: Annotated[list[Any], null_means([])] = field(default_factory=list)
    display_name: Annotated[Text, null_means("")] = ""
    output_node: Annotated[bool, null_means(False)] = False


def read_schemas(object_info: Any) -> dict[str, NodeSchema]:
    """The node types in a server's answer to /object_info, by name.

    Raises:
        CourseError: it is none.
    """
    nodes = read_as(dict[str, NodeInfo], object_info, "the server's list of node types", "is it a ComfyUI?")
    return {name: _read_node(name, node) for name, node in nodes.items()}


def _read_node(name: str, node: NodeInfo) -> NodeSchema:
    return NodeSchema(
        name=name,
        display_name=node.display_name or name,
        inputs=tuple(_read_inputs(node)),
        outputs=tuple(_kind(output) for output in node.output),
        is_output=node.output_node,
    )


def _read_inputs(node: NodeInfo) -> Iterator[InputSchema]:
    for group in ("required", "optional"):
        entries = getattr(node.input, group)
        # What an order forgets comes behind.
        for name in dict.fromkeys((*getattr(node.input_order, group), *entries)):
            if name not in entries:
                continue
            kind, settings = _entry(entries[name])
            options = None
            if isinstance(kind, list):  # V1 writes the choices where the type stands
                options = tuple(kind)
            elif kind == "COMBO" and isinstance(settings.get("options"), list):
                options = tuple(settings["options"])
            yield InputSchema(name, _kind(kind), group == "required", options, settings)


def _entry(entry: Any) -> tuple[Any, dict[str, Any]]:
    """Type and settings of an input; of a node pack that writes them otherwise, what can be understood."""
    parts = entry if isinstance(entry, list) else [entry]
    settings = parts[1] if len(parts) > 1 else {}
    return parts[0] if parts else ANY, settings if isinstance(settings, dict) else {}


def _kind(kind: Any) -> str:
    """A type's name: a list of choices is a COMBO, and a type that follows from another input may be any."""
    if isinstance(kind, list):
        return "COMBO"
    return kind if isinstance(kind, str) and kind and kind != FOLLOWS else ANY
