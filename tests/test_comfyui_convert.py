"""UI format -> API format: names for values, and everything that exists on the page alone."""

import json

import pytest
from pages import SCHEMAS, good_api, good_page, node, page
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kolors_course.comfyui.convert import fits, to_api
from kolors_course.comfyui.graph import format_of, read_workflow
from kolors_course.errors import CourseError


def test_a_page_becomes_what_the_server_runs():
    assert to_api(good_page(), SCHEMAS) == good_api()


def test_links_written_as_objects_are_read_too():
    workflow = good_page()
    workflow["links"] = [
        {"id": row[0], "origin_id": row[1], "origin_slot": row[2], "target_id": row[3], "target_slot": row[4]}
        for row in workflow["links"]
    ]
    assert to_api(workflow, SCHEMAS) == good_api()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7, "fixed"], {"seed": 7, "steps": 25, "cfg": 5.0, "tiled": False, "sizes": 2}),
        ([], {"seed": 0, "steps": 25, "cfg": 5.0, "tiled": False, "sizes": 2}),
        (
            [7, "fixed", 9, 1.5, True, 4, "more"],
            {"seed": 7, "steps": 9, "cfg": 1.5, "tiled": True, "sizes": 4},
        ),
    ],
)
def test_missing_values_are_defaults_and_surplus_ones_are_left_out(values, expected):
    api = to_api(page(node(3, "Sample", *values)), SCHEMAS)
    assert api["3"]["inputs"] == expected


def test_values_may_be_saved_by_name():
    sampler = node(3, "Sample") | {"widgets_values": {"steps": 9, "unknown": 1}}
    assert to_api(page(sampler), SCHEMAS)["3"]["inputs"]["steps"] == 9


def test_a_list_as_a_value_is_not_taken_for_a_link():
    api = to_api(page(node(2, "Encode", ["1", 0])), SCHEMAS)
    assert api["2"]["inputs"]["text"] == {"__value__": ["1", 0]}


def test_a_connected_widget_keeps_its_place_in_the_row():
    workflow = page(
        node(1, "Words", outputs=["STRING"]),
        node(2, "Encode", "old text", "plain"),
        links=[(1, 0, 2, "text", "STRING")],
    )
    assert to_api(workflow, SCHEMAS)["2"]["inputs"] == {"text": ["1", 0], "style": "plain"}


def test_notes_reroutes_and_primitives_exist_on_the_page_alone():
    workflow = page(
        node(1, "Load", "mini", outputs=["PIPE"]),
        node(5, "Reroute", outputs=["*"]),
        node(6, "Reroute", outputs=["*"]),
        node(7, "PrimitiveNode", 42, "fixed", outputs=["INT"]),
        node(8, "Note", "remember"),
        node(3, "Sample", 7, "fixed"),
        links=[
            (1, 0, 5, "", "*"),
            (5, 0, 6, "", "*"),
            (6, 0, 3, "pipe", "PIPE"),
            (7, 0, 3, "seed", "INT"),
        ],
    )
    api = to_api(workflow, SCHEMAS)
    assert list(api) == ["1", "3"]
    assert api["3"]["inputs"]["pipe"] == ["1", 0]
    assert api["3"]["inputs"]["seed"] == 42


def test_a_muted_node_and_the_links_from_it_vanish():
    workflow = good_page()
    workflow["nodes"][1]["mode"] = 2
    api = to_api(workflow, SCHEMAS)
    assert "2" not in api
    assert "embeds" not in api["3"]["inputs"]


def test_a_bypassed_node_hands_through_the_input_of_the_same_type():
    bypassed = node(2, "Sample", mode=4, outputs=["IMAGE", "LATENT"])
    workflow = page(
        node(1, "Words", outputs=["LATENT"]),
        bypassed,
        node(3, "Sample"),
        node(4, "Save"),
        links=[
            (1, 0, 2, "latent", "LATENT"),
            (2, 1, 3, "latent", "LATENT"),
            (2, 0, 4, "images", "IMAGE"),
        ],
    )
    api = to_api(workflow, SCHEMAS)
    assert api["3"]["inputs"]["latent"] == ["1", 0]
    assert "images" not in api["4"]["inputs"], "nothing of its type could be handed through"


def test_every_unknown_node_is_named():
    workflow = page(node(16, "LoadKolorsLoRA"), node(4, "Save"), node(9, "Gone", title="my node"))
    with pytest.raises(CourseError, match="node 16 'LoadKolorsLoRA', node 9 'my node': install"):
        to_api(workflow, SCHEMAS)


def test_a_circle_of_reroutes_is_found():
    workflow = page(
        node(1, "Reroute", outputs=["*"]),
        node(2, "Reroute", outputs=["*"]),
        node(3, "Sample"),
        links=[(1, 0, 2, "", "*"), (2, 0, 1, "", "*"), (2, 0, 3, "pipe", "PIPE")],
    )
    with pytest.raises(CourseError, match="circle of reroutes"):
        to_api(workflow, SCHEMAS)


def test_a_link_from_nowhere_is_found():
    workflow = good_page()
    workflow["links"] = workflow["links"][1:]
    with pytest.raises(CourseError, match="link 1 comes from nowhere"):
        to_api(workflow, SCHEMAS)


@pytest.mark.parametrize(
    "damage", [{"nodes": [{}], "links": []}, {"nodes": [1], "links": []}, {"nodes": [], "links": [[1]]}]
)
def test_damaged_pages_are_refused(damage):
    with pytest.raises(CourseError, match="damaged"):
        to_api(damage, SCHEMAS)


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ("A", "A", True),
        ("A", "B", False),
        ("*", "B", True),
        ("A", "*", True),
        ("A", "B,A", True),
        ("A,C", "B, C", True),
    ],
)
def test_types_fit(given, wanted, expected):
    assert fits(given, wanted) is expected


@pytest.mark.parametrize(("workflow", "expected"), [(good_page(), "ui"), (good_api(), "api")])
def test_formats_are_told_apart_and_read_from_files_and_pictures(tmp_path, workflow, expected):
    assert format_of(workflow) == expected
    path = tmp_path / "工作流.json"
    path.write_text("\ufeff" + json.dumps(workflow, ensure_ascii=False), encoding="utf-8")
    assert read_workflow(path) == workflow
    text = PngInfo()
    text.add_text("workflow" if expected == "ui" else "prompt", json.dumps(workflow))
    Image.new("RGB", (2, 2)).save(tmp_path / "saved.png", pnginfo=text)
    assert read_workflow(tmp_path / "saved.png") == workflow


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{\n 1}", "line 2: not JSON"),
        ("a.json", b"\xff\xfe\x00", "cannot be read"),
        ("a.json", b"[]", "no ComfyUI workflow"),
        ("a.json", b"{}", "no ComfyUI workflow"),
        ("a.json", b'{"prompt": {"1": {"class_type": "Load"}}}', "no ComfyUI workflow"),
        ("a.json", b'{"1": {"class_type": "Load", "inputs": []}}', "no ComfyUI workflow"),
        ("a.png", b"text", "is not a picture"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CourseError, match=message):
        read_workflow(tmp_path / name)


def test_missing_files_and_pictures_without_a_workflow_are_refused(tmp_path):
    with pytest.raises(CourseError, match="no workflow"):
        read_workflow(tmp_path / "gone.json")
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    with pytest.raises(CourseError, match="carries no workflow"):
        read_workflow(tmp_path / "plain.png")
