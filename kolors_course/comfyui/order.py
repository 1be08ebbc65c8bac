"""Which node of a workflow needs which: the order of a run, and what a change makes run again."""

from graphlib import CycleError, TopologicalSorter

from kolors_course.comfyui.convert import is_link
from kolors_course.comfyui.graph import ApiGraph
from kolors_course.errors import CourseError, brief

SHOWN = 20  # nodes of a circle in a message


def sources(api: ApiGraph) -> dict[str, list[str]]:
    """For each node, the nodes whose outputs it takes."""
    inputs = {key: (node.get("inputs") or {}).values() for key, node in api.items()}
    return {key: [value[0] for value in values if is_link(value)] for key, values in inputs.items()}


def execution_order(api: ApiGraph) -> list[str]:
    """Ids in an order in which every node comes after those it needs.

    Raises:
        CourseError: the links run in a circle.
    """
    try:
        return list(TopologicalSorter(sources(api)).static_order())
    except CycleError as error:
        raise CourseError(
            f"the links run in a circle: {' -> '.join(map(brief, error.args[1][:SHOWN]))}"
        ) from error


def downstream(api: ApiGraph, changed: str) -> set[str]:
    """The node `changed` and all that depend on it: what runs again when one of its inputs changes."""
    needs, again = sources(api), {changed}
    for key in execution_order(api):
        if again.intersection(needs.get(key, ())):
            again.add(key)
    return again
