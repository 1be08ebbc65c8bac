"""What a server says about its node types at /object_info, in one form for old (V1) and new (V3) nodes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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


def read_schemas(object_info: dict[str, Any]) -> dict[str, NodeSchema]:
    """The node types in a server's answer to /object_info, by name."""
    return {name: _read_node(name, node) for name, node in object_info.items()}


def _read_node(name: str, node: dict[str, Any]) -> NodeSchema:
    # An output that is a choice from a list is written as that list.
    outputs = tuple(kind if isinstance(kind, str) else "COMBO" for kind in node.get("output") or ())
    return NodeSchema(
        name=name,
        display_name=node.get("display_name") or name,
        inputs=tuple(_read_inputs(node)),
        outputs=outputs,
        is_output=bool(node.get("output_node")),
    )


def _read_inputs(node: dict[str, Any]) -> Iterator[InputSchema]:
    order = node.get("input_order") or {}
    for group in ("required", "optional"):
        entries = node["input"].get(group) or {}
        for name in order.get(group) or entries:
            kind, *rest = entries[name]
            settings = rest[0] if rest else {}
            options = None
            if not isinstance(kind, str):  # V1 writes the choices where the type stands
                kind, options = "COMBO", tuple(kind)
            elif kind == "COMBO" and "options" in settings:
                options = tuple(settings["options"] or ())
            yield InputSchema(name, kind, group == "required", options, settings)
