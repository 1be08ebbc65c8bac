"""Subgraphs, unfolded: every graph of a page as it stands in a run, once for each node that stands for it.

The page shows a subgraph as one node; the server knows none, and runs what is inside under ids like "5:12". Inside,
links from node -10 come from the node's inputs, and links to node -20 go to its outputs.
"""

from dataclasses import dataclass
from functools import cached_property

from kolors_course.comfyui.graph import BYPASSED, MUTED, Link, Page, Subgraph, UiNode, subgraphs_of
from kolors_course.comfyui.page_nodes import SETTERS
from kolors_course.errors import CourseError, brief

INPUTS, OUTPUTS = "-10", "-20"
MAX_NODES = 20_000  # of a run; subgraphs in subgraphs multiply
MAX_NESTED = 50


@dataclass(frozen=True)
class Scope:
    """A graph in a run. The page itself has no host; a subgraph's is the node that stands for it."""

    graph: Page
    path: str = ""
    host: UiNode | None = None
    parent: "Scope | None" = None

    @cached_property
    def nodes(self) -> dict[str, UiNode]:
        return {node.id: node for node in self.graph.nodes}

    @cached_property
    def links(self) -> dict[str, Link]:
        return {link.id: link for link in self.graph.links}

    @cached_property
    def outgoing(self) -> dict[int, Link]:
        """The link to each output of the subgraph: the one that the output names, else one that names the output."""
        links = {link.target_slot: link for link in reversed(self.graph.links) if link.target_id == OUTPUTS}
        outputs = self.graph.outputs if isinstance(self.graph, Subgraph) else ()
        named = ((i, key) for i, port in enumerate(outputs) for key in reversed(port.links))
        return links | {i: self.links[key] for i, key in named if key in self.links}

    @cached_property
    def incoming(self) -> dict[int, list[Link]]:
        """The links from each input of the subgraph."""
        links: dict[int, list[Link]] = {}
        for link in self.graph.links:
            if link.origin_id == INPUTS:
                links.setdefault(link.origin_slot, []).append(link)
        return links

    @cached_property
    def setters(self) -> dict[str, UiNode]:
        """The Set nodes by the names that they set; the first of a name counts."""
        return {str(node.first_value): node for node in reversed(self.graph.nodes) if node.type in SETTERS}

    @cached_property
    def inner(self) -> dict[str, "Scope"]:
        """Filled while unfolding: the scopes of the subgraphs in this one, by their nodes' ids."""
        return {}

    def where(self, node: UiNode) -> str:
        return f"node {brief(self.path + node.id)} {node.label}"


def unfold(page: Page) -> list[Scope]:
    """The page and all subgraphs that run in it, outer ones first; a muted or bypassed subgraph does not run.

    Raises:
        CourseError: a subgraph contains itself, or there are too many nodes.
    """
    definitions = {graph.id: graph for graph in subgraphs_of(page)}
    scopes, count = [Scope(page)], len(page.nodes)
    for scope in scopes:  # it grows meanwhile
        for node in scope.graph.nodes:
            definition = definitions.get(node.type)
            if definition is None or node.mode in (MUTED, BYPASSED):
                continue
            _require_no_circle(scope, node, definition)
            count += len(definition.nodes)
            if count > MAX_NODES:
                raise CourseError(
                    f"the workflow has more than {MAX_NODES} nodes, counted through its subgraphs"
                )
            scope.inner[node.id] = Scope(definition, f"{scope.path}{node.id}:", node, scope)
            scopes.append(scope.inner[node.id])
    return scopes


def _require_no_circle(scope: Scope, node: UiNode, definition: Subgraph) -> None:
    around: Scope | None = scope
    for _ in range(MAX_NESTED):
        if around is None:
            return
        if around.graph is definition:
            break
        around = around.parent
    raise CourseError(
        f"{scope.where(node)}: the subgraph {brief(definition.name or definition.id)!r} contains itself, or is "
        f"nested deeper than {MAX_NESTED}: take it out in ComfyUI"
    )
