"""Nodes that exist on the page alone: no server knows them, and a workflow runs without them."""

import re
from collections.abc import Container

from kolors_course.comfyui.graph import UiNode

PRIMITIVE = "PrimitiveNode"
# Wires without lines: what a getter gives is what the setter of the same name was given.
SETTERS, GETTERS = ("SetNode", "easy setNode"), ("GetNode", "easy getNode")
# These hand an input through to the output beside it, remark on the page, or switch other nodes on and off.
PAGE_ONLY = frozenset(
    (
        PRIMITIVE,
        *SETTERS,
        *GETTERS,
        "Reroute",
        "Note",
        "MarkdownNote",
        "Reroute (rgthree)",
        "Node Collector (rgthree)",
        "Node Combiner (rgthree)",
        "Fast Muter (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Fast Actions Button (rgthree)",
        "Mute / Bypass Relay (rgthree)",
        "Mute / Bypass Repeater (rgthree)",
        "Random Unmuter (rgthree)",
        "Bookmark (rgthree)",
        "Label (rgthree)",
    )
)
# Other packs have their own remarks and switches; a node without inputs and outputs is no loss.
REMARKS = re.compile(r"note|label|bookmark|comment|markdown|mute|bypass", re.IGNORECASE)
# Nodes of the pack Use Everywhere give values to every open input, by rules that only its page knows.
EVERYWHERE = re.compile(r"\beverywhere", re.IGNORECASE)


def is_page_only(node: UiNode, known: Container[str]) -> bool:
    """Whether a node vanishes on the way to a server that knows the types `known`."""
    remark = not node.inputs and not node.outputs and REMARKS.search(node.type)
    return node.type not in known and bool(node.type in PAGE_ONLY or remark)
