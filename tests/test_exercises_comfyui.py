"""The exercises of notebook 12, and what they are about: what runs again, and a figure of it."""

import json
import re

import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from pages import SCHEMAS, good_api

from kolors_course.comfyui.graph import read_workflow
from kolors_course.comfyui.order import downstream, execution_order
from kolors_course.comfyui.server import NODES
from kolors_course.errors import CourseError
from kolors_course.exercises import Right
from kolors_course.exercises.comfyui import CAMP_VALUES, check_mended, check_rerun, check_widget_values
from kolors_course.viz.workflow import MARKED, workflow_plot

NAMED = {"steps": 25, "cfg": 5, "scheduler": "EulerDiscreteScheduler", "denoise_strength": 1}


def test_the_values_are_named():
    assert isinstance(check_widget_values.reply(NAMED), Right)
    assert set(NAMED.values()) <= set(CAMP_VALUES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "fixed"}, "a field of its own right after every seed"),
        ({"cfg": 25}, "cfg is 25"),
        ({"denoise_strength": None}, "denoise_strength is None"),
    ],
)
def test_wrong_names_are_explained(change, message):
    assert re.search(message, check_widget_values.reply(NAMED | change))


def test_a_name_that_is_missing_is_told():
    less = {key: value for key, value in NAMED.items() if key != "scheduler"}
    assert "no scheduler" in check_widget_values.reply(less)


@pytest.mark.parametrize(("changed", "again"), [("1", "1234"), ("2", "234"), ("3", "34"), ("4", "4")])
def test_what_runs_again_is_what_depends_on_the_change(changed, again):
    assert downstream(good_api(), changed) == set(again)
    assert isinstance(check_rerun.reply(list(again), good_api(), changed), Right)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"4"}, "Node 3 .Sample. runs again as well: its own input"),
        ({"3"}, "Node 4 .Save. runs again as well: something it takes"),
        ({"1", "3", "4"}, "Node 1 .Load a model. does not"),
        ({"3", "4", "9"}, "no node 9"),
    ],
)
def test_a_wrong_guess_of_what_runs_again_is_explained(answer, message):
    assert re.search(message, check_rerun.reply(answer, good_api(), "3"))


def broken():
    graph = json.loads(json.dumps(good_api()))
    graph["3"]["inputs"] |= {"steps": 0, "cfg": "x"}
    return graph


def half(graph):
    graph["3"]["inputs"]["cfg"] = 5.0


def whole(graph):
    graph["3"]["inputs"] |= {"cfg": 5.0, "steps": 20}


def worse(graph):
    graph["3"]["inputs"]["steps"] = -1
    return graph


def spoilt(graph):
    graph["3"] = 4


@pytest.mark.parametrize(
    ("repair", "said"),
    [
        (whole, "Right. The server would run it"),
        (lambda graph: good_api(), "Right. The server would run it"),
        (half, "1 to go, the first is: node 3 'Sample', input 'steps'"),
        (lambda graph: graph, "Yours to write"),
        (lambda graph: None, "Yours to write"),
        (worse, "2 to go"),
        (spoilt, "no workflow any more"),
        (lambda graph: 4, "no workflow any more"),
        (lambda graph: graph["7"], "KeyError: '7'"),
    ],
)
def test_a_repair_is_judged_by_what_is_left_to_do(repair, said):
    before = broken()
    assert said in check_mended.reply(repair, before, SCHEMAS)
    assert before == broken()


def test_the_order_puts_every_node_after_its_sources_and_refuses_circles():
    assert execution_order(dict(reversed(good_api().items()))) == ["1", "2", "3", "4"]
    circle = good_api()
    circle["1"]["inputs"]["name"] = ["4", 0]
    with pytest.raises(CourseError, match="circle: .*->"):
        execution_order(circle)
    with pytest.raises(CourseError, match="circle"):
        workflow_plot(circle)


def test_the_figure_shows_every_node_to_the_right_of_what_it_needs():
    (axis,) = workflow_plot(good_api(), marked={"1"}).axes
    texts = {text.get_text(): text.get_position()[0] for text in axis.texts if "·" in text.get_text()}
    assert list(texts) == ["1 · Load a model", "2 · 提示词", "3 · Sample", "4 · Save"]
    assert list(texts.values()) == sorted(set(texts.values()))
    links, nodes = (
        [patch for patch in axis.patches if isinstance(patch, kind)]
        for kind in (FancyArrowPatch, FancyBboxPatch)
    )
    assert len(links) == 4
    assert [node.get_facecolor() == to_rgba(MARKED) for node in nodes] == [True, False, False, False]


@pytest.mark.parametrize("name", ["mini-lora", "mini-image-to-image", "mini-two-loras"])
def test_no_link_of_a_figure_passes_behind_a_node(name):
    figure = workflow_plot(read_workflow(NODES / "example_workflows" / "api" / f"{name}.json"))
    figure.draw_without_rendering()  # places the axes
    (axis,) = figure.axes
    boxes = [patch.get_bbox() for patch in axis.patches if isinstance(patch, FancyBboxPatch)]
    for link in (patch for patch in axis.patches if isinstance(patch, FancyArrowPatch)):
        points = axis.transData.inverted().transform(
            link.get_transform().transform_path(link.get_path()).interpolated(20).vertices
        )
        assert not any(box.shrunk(0.98, 0.98).count_contains(points) for box in boxes)
