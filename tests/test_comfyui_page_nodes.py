"""Nodes that exist on the page alone: they vanish, hand through, or are told about."""

import pytest
from pages import SCHEMAS, good_page, node, page, subgraph

from kolors_course.comfyui.convert import to_api
from kolors_course.errors import CourseError


def remark(kind, *values):
    return node(90, kind, *values)


@pytest.mark.parametrize(
    "extra",
    [
        remark("Bookmark (rgthree)", "1", 1),
        remark("Label (rgthree)"),
        remark("MarkdownNote", "# words"),
        remark("Fast Groups Muter (rgthree)") | {"outputs": [{"name": "OPT_CONNECTION", "type": "*"}]},
        remark("Note Plus (mtb)", "words"),
        remark("Comment"),
    ],
    ids=lambda extra: extra["type"],
)
def test_remarks_and_switches_vanish(extra):
    workflow = good_page()
    workflow["nodes"].append(extra)
    assert to_api(workflow, SCHEMAS) == to_api(good_page(), SCHEMAS)


def test_a_switch_that_is_wired_to_nodes_vanishes_too():
    workflow = page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        node(3, "Sample"),
        node(5, "Fast Muter (rgthree)", outputs=["*"]),
        node(6, "Mute / Bypass Repeater (rgthree)", outputs=["*"]),
        links=[(1, 0, 3, "pipe", "PIPE"), (1, 0, 6, "Load", "*"), (6, 0, 5, "Repeater", "*")],
    )
    assert sorted(to_api(workflow, SCHEMAS)) == ["1", "3"]


@pytest.mark.parametrize(("setter", "getter"), [("SetNode", "GetNode"), ("easy setNode", "easy getNode")])
def test_what_is_set_under_a_name_is_got_under_it(setter, getter):
    workflow = page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        node(5, setter, "model", outputs=["*"]),
        node(6, getter, "model", outputs=["PIPE"]),
        node(7, setter, "again", outputs=["*"]),
        node(8, getter, "again", outputs=["PIPE"]),
        node(9, "Reroute (rgthree)", outputs=["*"]),
        node(3, "Sample"),
        links=[
            (1, 0, 5, "PIPE", "PIPE"),
            (6, 0, 7, "PIPE", "PIPE"),
            (8, 0, 9, "", "*"),
            (9, 0, 3, "pipe", "PIPE"),
        ],
    )
    api = to_api(workflow, SCHEMAS)
    assert sorted(api) == ["1", "3"]
    assert api["3"]["inputs"]["pipe"] == ["1", 0]


def test_a_setter_hands_through_and_reaches_into_subgraphs():
    inner = subgraph(
        "inner",
        node(6, "GetNode", "model", outputs=["PIPE"]),
        node(3, "Sample"),
        links=[(6, 0, 3, "pipe", "PIPE")],
    )
    workflow = page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        node(5, "SetNode", "model", outputs=["PIPE"]),
        node(4, "Encode", "text", "ink"),
        node(9, "inner"),
        links=[(1, 0, 5, "PIPE", "PIPE"), (5, 0, 4, "pipe", "PIPE")],
        definitions={"subgraphs": [inner]},
    )
    api = to_api(workflow, SCHEMAS)
    assert api["4"]["inputs"]["pipe"] == api["9:3"]["inputs"]["pipe"] == ["1", 0]


def wired(kind, **more):
    """A node between Load and Sample."""
    return page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        node(5, kind, "name", outputs=["PIPE"], **more),
        node(3, "Sample"),
        links=[(1, 0, 5, "PIPE", "PIPE"), (5, 0, 3, "pipe", "PIPE")],
    )


def without_input(workflow):
    workflow["nodes"][1]["inputs"] = []
    return workflow


def without_output(workflow):
    workflow["nodes"][1]["outputs"] = []
    return workflow


@pytest.mark.parametrize(
    ("workflow", "message"),
    [
        (wired("Strange"), "type of node 5 'Strange': install the node pack it comes from, or export"),
        (wired("workflow>group"), "or export the workflow in ComfyUI"),
        (
            wired("Anything Everywhere"),
            "node 5 'Anything Everywhere' gives values to other nodes without wires",
        ),
        (wired("GetNode"), "node 5 'GetNode' gets 'name', which nothing sets"),
        (without_input(wired("Reroute")), "node 5 'Reroute' has no input 0"),
        (without_output(wired("Sample", mode=4)), "node 5 'Sample' has no output 0"),
    ],
)
def test_what_only_the_page_knows_is_told(workflow, message):
    with pytest.raises(CourseError, match=message) as caught:
        to_api(workflow, SCHEMAS)
    assert len(str(caught.value).splitlines()) == 1


def test_a_long_way_of_reroutes_is_no_trouble():
    nodes = [node(number, "Reroute", outputs=["*"]) for number in range(10, 5000)]
    ways = [(number - 1, 0, number, "", "*") for number in range(11, 5000)]
    workflow = page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        *nodes,
        node(3, "Sample"),
        links=[(1, 0, 10, "", "*"), *ways, (4999, 0, 3, "pipe", "PIPE")],
    )
    assert to_api(workflow, SCHEMAS)["3"]["inputs"]["pipe"] == ["1", 0]


def test_many_unknown_nodes_are_counted():
    workflow = page(*(node(number, "x" * 500) for number in range(100)))
    with pytest.raises(CourseError, match="and 90 more: install") as caught:
        to_api(workflow, SCHEMAS)
    assert len(str(caught.value)) < 1500
