"""Subgraphs unfold into what the page runs: ids, wires across borders, and the fields on the node outside."""

from copy import deepcopy

import pytest
from pages import SCHEMAS, good_page, node, page, subgraph, subgraph_page

from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.validate import find_problems
from kolors_course.errors import CourseError


def inputs_of(workflow):
    return {key: entry["inputs"] for key, entry in to_api(workflow, SCHEMAS).items()}


def host(workflow):
    return next(entry for entry in workflow["nodes"] if entry["type"] == "drawing")


def inside(workflow, number):
    return workflow["definitions"]["subgraphs"][number]


def test_subgraphs_in_subgraphs_unfold():
    inputs = inputs_of(subgraph_page())
    assert sorted(inputs) == ["1", "4", "9:3", "9:5:2"]
    assert inputs["9:5:2"] == {"text": "一只兔子", "style": "ink", "pipe": ["1", 0]}
    assert inputs["9:3"]["embeds"] == ["9:5:2", 0]
    assert inputs["9:3"]["steps"] == 30
    assert inputs["4"]["images"] == ["9:3", 0]
    assert find_problems(to_api(subgraph_page(), SCHEMAS), SCHEMAS) == []


def test_each_node_of_a_subgraph_has_fields_of_its_own():
    workflow = subgraph_page()
    second = deepcopy(host(workflow)) | {"id": 10, "widgets_values": [9, "second"], "inputs": []}
    workflow["nodes"].append(second)
    inputs = inputs_of(workflow)
    assert (inputs["9:3"]["steps"], inputs["10:3"]["steps"]) == (30, 9)
    assert inputs["10:5:2"]["text"] == "second"
    assert "pipe" not in inputs["10:3"], "nothing is connected to the second"


@pytest.mark.parametrize(
    ("values", "proxies", "steps", "text"),
    [
        ([], None, 25, "middle"),
        ([30, "outside"], None, 30, "outside"),
        ([None, "outside"], None, 25, "outside"),
        (["outside", 30], [["-1", "text"], ["-1", "steps"]], 30, "outside"),
        ([None, "outside", 30], [["3", "seed"], ["-1", "text"], ["-1", "steps"]], 30, "outside"),
        ({"steps": 30}, None, 30, "middle"),
    ],
)
def test_fields_on_the_node_outside_go_before_those_inside(values, proxies, steps, text):
    workflow = subgraph_page()
    host(workflow).update(widgets_values=values, properties={"proxyWidgets": proxies} if proxies else None)
    inputs = inputs_of(workflow)
    assert (inputs["9:3"]["steps"], inputs["9:5:2"]["text"]) == (steps, text)


def test_a_wire_to_a_field_outside_goes_before_its_value():
    workflow = subgraph_page()
    workflow["nodes"].append(node(7, "Words", outputs=["STRING"]))
    workflow["links"].append([77, 7, 0, 9, 1, "STRING"])
    host(workflow)["inputs"].append({"name": "text", "type": "STRING", "link": 77})
    assert inputs_of(workflow)["9:5:2"]["text"] == ["7", 0]


@pytest.mark.parametrize("mode", [2, 4])
def test_nothing_runs_inside_a_muted_or_bypassed_one(mode):
    workflow = subgraph_page()
    host(workflow)["mode"] = mode
    inputs = inputs_of(workflow)
    assert sorted(inputs) == ["1", "4"]
    assert "images" not in inputs["4"], "PIPE is no IMAGE"


def test_a_bypassed_one_hands_through_what_fits():
    inner = subgraph(
        "twice",
        node(2, "Sample", outputs=["IMAGE"]),
        inputs=[("latent", "LATENT")],
        outputs=[("l", "LATENT")],
    )
    workflow = page(
        node(1, "Sample", outputs=["IMAGE", "LATENT"]),
        node(5, "twice", mode=4, outputs=["LATENT"]),
        node(3, "Sample"),
        links=[(1, 1, 5, "latent", "LATENT"), (5, 0, 3, "latent", "LATENT")],
        definitions={"subgraphs": [inner]},
    )
    assert inputs_of(workflow)["3"]["latent"] == ["1", 1]


def test_a_muted_one_may_be_as_empty_as_it_likes():
    workflow = good_page()
    workflow["nodes"].append(node(9, "s-1", mode=2))
    workflow["definitions"] = {"subgraphs": [{"id": "s-1", "name": "s"}]}
    assert to_api(workflow, SCHEMAS) == to_api(good_page(), SCHEMAS)


def test_an_input_may_run_straight_to_an_output():
    straight = subgraph(
        "straight", inputs=[("a", "PIPE")], outputs=[("a", "PIPE")], links=[(-10, 0, -20, 0, "PIPE")]
    )
    workflow = page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        node(5, "straight", outputs=["PIPE"]),
        node(3, "Sample"),
        links=[(1, 0, 5, "a", "PIPE"), (5, 0, 3, "pipe", "PIPE")],
        definitions={"subgraphs": [straight]},
    )
    assert inputs_of(workflow)["3"]["pipe"] == ["1", 0]


def test_files_in_pictures_leave_out_what_is_not_connected():
    workflow = subgraph_page()
    inside(workflow, 1)["inputs"].reverse()
    for link in inside(workflow, 1)["links"]:
        if link["origin_id"] == -10:
            link["origin_slot"] = 2 - link["origin_slot"]
    host(workflow)["widgets_values"].reverse()
    assert [slot["name"] for slot in host(workflow)["inputs"]] == ["pipe"]
    assert inputs_of(workflow) == inputs_of(subgraph_page())


def contains_itself(workflow):
    inside(workflow, 0)["nodes"].append(node(8, "drawing"))


def multiplies(workflow):
    for number in range(20):
        nodes = [node(i, f"g{number + 1}") for i in range(10)]
        workflow["definitions"]["subgraphs"].append(subgraph(f"g{number}", *nodes))
    workflow["nodes"].append(node(50, "g0"))


def nests_deeply(workflow):
    for number in range(60):
        workflow["definitions"]["subgraphs"].append(subgraph(f"g{number}", node(1, f"g{number + 1}")))
    workflow["nodes"].append(node(50, "g0"))


def loses_its_id(workflow):
    del inside(workflow, 0)["id"]


def loses_a_link(workflow):
    inside(workflow, 0)["links"].pop(0)


def lacks_an_input(workflow):
    inside(workflow, 0)["links"][0]["origin_slot"] = 7


def has_twins(workflow):
    inside(workflow, 0)["nodes"] *= 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (contains_itself, "node 9:5:8 'drawing': the subgraph 'drawing' contains itself"),
        (multiplies, "more than 20000 nodes"),
        (nests_deeply, "nested deeper than 50"),
        (loses_its_id, "at definitions.subgraphs.0.id: it is missing"),
        (loses_a_link, "node 9:5:2 '提示词': link 1 comes from nowhere"),
        (lacks_an_input, "node 9:5 'words' has no input 7"),
        (has_twins, "two nodes 2"),
    ],
)
def test_damaged_ones_are_refused_in_one_line(damage, message):
    workflow = subgraph_page()
    damage(workflow)
    with pytest.raises(CourseError, match=message) as caught:
        to_api(workflow, SCHEMAS)
    assert len(str(caught.value).splitlines()) == 1
