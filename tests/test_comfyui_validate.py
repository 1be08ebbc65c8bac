"""Each mistake in a workflow is found before a server sees it, and named by node, title and input."""

import pytest
from pages import SCHEMAS, good_api

from kolors_course.comfyui.schema import InputSchema
from kolors_course.comfyui.validate import find_problems, require_valid
from kolors_course.errors import CourseError


def put(node, name, value):
    def spoil(api):
        api[node]["inputs"][name] = value

    return spoil


def take(node, name):
    return lambda api: api[node]["inputs"].pop(name)


def retype(node, kind):
    return lambda api: api[node].update(class_type=kind)


def test_a_good_workflow_has_no_problems():
    assert find_problems(good_api(), SCHEMAS) == []
    require_valid(good_api(), SCHEMAS)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (put("3", "steps", 5000), "node 3 'Sample', input 'steps': 5000 is more than 100"),
        (put("3", "steps", 0), "input 'steps': 0 is less than 1"),
        (put("3", "cfg", float("nan")), "input 'cfg': nan is more than 20.0"),
        (put("3", "steps", "many"), "input 'steps': 'many' is no whole number"),
        (put("3", "cfg", None), "input 'cfg': None is no number"),
        (
            put("2", "style", "inc"),
            "node 2 '提示词', input 'style': 'inc' is none of its 2 choices; there is ink",
        ),
        (put("1", "name", "huge"), "'huge' is none of its 2 choices; there is mini, full"),
        (put("3", "pipe", "mini"), "input 'pipe': 'mini' is a value; connect PIPE instead"),
        (
            put("3", "pipe", ["2", 0]),
            "input 'pipe': it takes PIPE; output 0 of node 2 '提示词' is EMBEDS",
        ),
        (
            put("3", "pipe", ["1", 1]),
            "input 'pipe': node 1 'Load a model' has 1 outputs, counted from 0, so no output 1",
        ),
        (put("3", "pipe", ["1", "0"]), "is no link"),
        (put("3", "pipe", ["1"]), "is no link"),
        (put("3", "pipe", ["77", 0]), "input 'pipe': it is linked to node 77, which does not exist"),
        (take("3", "steps"), "input 'steps': it has no value"),
        (take("3", "pipe"), "input 'pipe': nothing is connected; it takes PIPE"),
        (retype("3", "Smaple"), "node 3 'Sample': no node type 'Smaple'; there is Sample"),
        (retype("4", "Words"), "workflow: nothing would come out"),
    ],
)
def test_each_mistake_is_named(spoil, expected):
    api = good_api()
    spoil(api)
    problems = find_problems(api, SCHEMAS)
    assert len(problems) == 1
    assert expected in str(problems[0])


def test_all_mistakes_are_found_at_once():
    api = good_api()
    put("3", "steps", 5000)(api)
    put("2", "style", "x")(api)
    with pytest.raises(CourseError, match="node 2 .*; node 3 .*"):
        require_valid(api, SCHEMAS)


def test_optional_inputs_surplus_inputs_and_wrapped_lists_may_be_there_or_not():
    api = good_api()
    take("3", "tiled")(api)
    put("3", "upload", "image")(api)
    put("2", "text", {"__value__": ["a", "b"]})(api)
    assert find_problems(api, SCHEMAS) == []


def test_a_file_that_may_be_uploaded_is_left_to_the_server():
    api = good_api() | {"5": {"class_type": "Picture", "inputs": {"image": "later.png"}}}
    assert find_problems(api, SCHEMAS) == []


def test_a_list_without_choices_points_to_missing_files():
    schemas = dict(SCHEMAS)
    empty = InputSchema("name", "COMBO", required=True, options=(), settings={})
    schemas["Load"] = type(SCHEMAS["Load"])("Load", "Load a model", (empty,), ("PIPE",), False)
    (problem,) = find_problems(good_api(), schemas)
    assert "the server offers nothing here; is a model or file missing?" in str(problem)


def test_circles_are_shown_with_the_way_they_take():
    api = good_api()
    api["5"] = {"class_type": "Sample", "inputs": {**api["3"]["inputs"], "latent": ["6", 1]}}
    api["6"] = {"class_type": "Sample", "inputs": {**api["3"]["inputs"], "latent": ["5", 1]}}
    (problem,) = find_problems(api, SCHEMAS)
    assert (
        str(problem) == "node 5 'Sample': its links run in a circle: 5 'Sample' -> 6 'Sample' -> 5 'Sample'"
    )


def test_a_node_linked_to_itself_is_a_circle():
    api = good_api()
    put("3", "latent", ["3", 1])(api)
    (problem,) = find_problems(api, SCHEMAS)
    assert "3 'Sample' -> 3 'Sample'" in str(problem)


def test_a_diamond_is_no_circle_and_a_long_chain_is_no_trouble():
    api = good_api()
    for number in range(5, 3000):
        latent = {"latent": [str(number - 1), 1]} if number > 5 else {}
        api[str(number)] = {"class_type": "Sample", "inputs": {**api["3"]["inputs"], **latent}}
    assert find_problems(api, SCHEMAS) == []
