"""What servers say of their node types: old and new ways of writing, odd node packs, and answers that are none."""

import pytest

from kolors_course.comfyui.schema import read_schemas
from kolors_course.errors import CourseError


def read(**node):
    return read_schemas({"Node": node})["Node"]


@pytest.mark.parametrize(
    ("entry", "kind", "options"),
    [
        ([["a", "b"], {}], "COMBO", ("a", "b")),
        ([["a", "b"]], "COMBO", ("a", "b")),
        (["COMBO", {"options": ["a"]}], "COMBO", ("a",)),
        (["COMBO", {"remote": {}}], "COMBO", None),
        (["INT", {"default": 5}], "INT", None),
        (["INT"], "INT", None),
        ("INT", "INT", None),
        (["INT", None], "INT", None),
        ([{"odd": 1}], "*", None),
        ([], "*", None),
        (None, "*", None),
    ],
)
def test_every_way_to_write_an_input_is_read(entry, kind, options):
    (found,) = read(input={"required": {"x": entry}}).inputs
    assert (found.name, found.type, found.options, found.required) == ("x", kind, options, True)


def test_the_order_of_the_page_counts_and_forgets_nothing():
    groups = {
        "required": {"a": ["INT"], "b": ["INT"]},
        "optional": {"c": ["INT"]},
        "hidden": {"prompt": "PROMPT"},
    }
    schema = read(input=groups, input_order={"required": ["b", "gone"], "optional": None})
    assert [entry.name for entry in schema.inputs] == ["b", "a", "c"]


def test_what_a_node_does_not_say_is_empty():
    schema = read(input=None, input_order=None, output=None, display_name=None, output_node=None)
    assert (schema.display_name, schema.inputs, schema.outputs, schema.is_output) == ("Node", (), (), False)


def test_outputs_may_be_choices_or_follow_an_input():
    assert read(output=["IMAGE", ["a", "b"], "COMFY_MATCHTYPE_V3"]).outputs == ("IMAGE", "COMBO", "*")


@pytest.mark.parametrize(
    "answer", [None, [], "<html>", 5, {"Node": None}, {"Node": {"input": []}}, {"Node": {"output": {}}}]
)
def test_other_answers_are_refused_in_one_line(answer):
    with pytest.raises(CourseError, match="list of node types is damaged.*is it a ComfyUI") as caught:
        read_schemas(answer)
    assert len(str(caught.value).splitlines()) == 1
