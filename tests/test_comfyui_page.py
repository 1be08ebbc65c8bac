"""The page of a real ComfyUI in a real browser: load a workflow, press Run, see the picture; and its converter."""

import json
import re

import pytest
from comfyui_hand import Hand
from comfyui_page import FILE_INPUT, RUN_BUTTON, open_comfyui
from comfyui_server import slow
from comfyui_walk import HEIGHT, LOADER, LORA, SAMPLER, STRENGTH, TEXT, WIDTH, camp_by_hand, open_file, walk
from pages import node, page

from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.server import NODES
from kolors_course.kolors import current_profile
from kolors_course.platform.paths import REPOSITORY

WORKFLOWS = NODES / "example_workflows"


@pytest.fixture(scope="module")
def tab(browser, comfyui):
    """A tab with the page of the shared server, ready to be used."""
    with open_comfyui(browser, comfyui.client) as tab:
        yield tab


def without_titles(api):
    return {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in api.items()}


def rich_page():
    """Everything that the converter has a rule for, in nodes that every ComfyUI has."""
    workflow = page(
        node(1, "CheckpointLoaderSimple", "m.safetensors", outputs=["MODEL", "CLIP", "VAE"]),
        node(2, "LoraLoader", "l.safetensors", 0.5, 1.0, mode=4, outputs=["MODEL", "CLIP"]),
        node(3, "LoraLoaderModelOnly", "l.safetensors", 0.5, mode=4, outputs=["MODEL"]),
        node(4, "CLIPTextEncode", "一只猫, a cat", outputs=["CONDITIONING"], title="positive"),
        node(5, "CLIPTextEncode", "", outputs=["CONDITIONING"], mode=2),
        node(6, "KSampler", 5, "fixed", 20, 8.0, "euler", "normal", 1.0, outputs=["LATENT"]),
        node(7, "EmptyLatentImage", 512, 768, 1, outputs=["LATENT"]),
        node(8, "VAEDecode", outputs=["IMAGE"]),
        node(9, "SaveImage", "x"),
        node(10, "PreviewImage", mode=2),
        node(11, "Reroute", outputs=["*"]),
        node(12, "Reroute", outputs=["*"]),
        node(13, "PrimitiveNode", 77, "fixed", outputs=["INT"]),
        node(14, "Note", "remember"),
        node(15, "LoadImage", "a.png", "image", outputs=["IMAGE", "MASK"]),
        node(16, "ImageScaleBy", "lanczos", 2.0, mode=4, outputs=["IMAGE"]),
        node(17, "PreviewImage"),
        node(18, "KSamplerAdvanced", "enable", 9, "randomize", 30, 7.5, "heun", "karras", 2, 99, "disable"),
        node(
            19,
            "KolorsCourseSampler",
            3,
            "fixed",
            9,
            4.5,
            "unipc",
            "trailing",
            64,
            96,
            2,
            0.5,
            outputs=["LATENT"],
        ),
        node(20, "KolorsCourseSampler", 3),
        links=[
            (1, 0, 2, "model", "MODEL"),
            (1, 1, 2, "clip", "CLIP"),
            (2, 0, 3, "model", "MODEL"),
            (2, 1, 4, "clip", "CLIP"),
            (1, 1, 5, "clip", "CLIP"),
            (3, 0, 11, "", "*"),
            (11, 0, 12, "", "*"),
            (12, 0, 6, "model", "MODEL"),
            (4, 0, 6, "positive", "CONDITIONING"),
            (5, 0, 6, "negative", "CONDITIONING"),
            (7, 0, 6, "latent_image", "LATENT"),
            (6, 0, 8, "samples", "LATENT"),
            (1, 2, 8, "vae", "VAE"),
            (8, 0, 9, "images", "IMAGE"),
            (8, 0, 10, "images", "IMAGE"),
            (15, 0, 16, "image", "IMAGE"),
            (16, 0, 17, "images", "IMAGE"),
            (6, 0, 18, "latent_image", "LATENT"),
            (13, 0, 6, "seed", "INT"),
            (19, 0, 20, "latent", "LATENT"),
        ],
    )
    entries = {entry["id"]: entry for entry in workflow["nodes"]}
    for number, source, slot, *_ in workflow["links"]:
        entries[source]["outputs"][slot]["links"].append(number)
    entries[6]["inputs"][-1]["widget"] = {"name": "seed"}  # that this input is a field, too
    return workflow | {"last_node_id": 20, "last_link_id": len(workflow["links"])}


def test_our_conversion_is_that_of_the_page(tab, comfyui):
    workflow = rich_page()
    tab.evaluate(f"app.loadGraphData({json.dumps(workflow)})")
    theirs = tab.evaluate("app.graphToPrompt()")["output"]
    assert without_titles(to_api(workflow, comfyui.client.schemas())) == without_titles(theirs)
    # What the page would save now, in its newest form, converts to the same.
    saved = tab.evaluate("app.graph.serialize()")
    assert to_api(saved, comfyui.client.schemas()) == theirs


FOLD = """
    (ids => app.graph.convertToSubgraph(new Set(ids.map(id => app.graph.getNodeById(id)))).node.id)
"""
# Every number and text in the fields of subgraphs becomes another than inside.
FILL = """
    app.graph.nodes.filter(node => node.isSubgraphNode()).forEach(node => node.widgets.forEach((field, i) => {
        if (typeof field.value == "number") field.value += 1
        if (typeof field.value == "string" && !field.options?.values) field.value = `outside ${i}`
    }))
"""
LAST = "the subgraph that was folded last"


@pytest.mark.parametrize(
    "folds",
    [
        [[4, 6, 7]],  # with a primitive outside
        [[6, 13], [LAST, 8, 9]],  # in another
        [[4], [LAST, 18], [LAST, 19], [LAST, 6]],  # in another in another …
        [[11, 12, 8], [2, 3], [15, 16]],  # reroutes and bypassed nodes at the borders
    ],
    ids=["one", "nested", "deep", "borders"],
)
def test_subgraphs_unfold_as_the_page_unfolds_them(tab, comfyui, folds):
    tab.evaluate(f"app.loadGraphData({json.dumps(rich_page())})")
    host = None
    for ids in folds:
        host = tab.evaluate(f"{FOLD}({json.dumps([host if entry == LAST else entry for entry in ids])})")
    tab.evaluate(FILL)
    saved = tab.evaluate("app.graph.serialize()")
    tab.evaluate(f"app.loadGraphData({json.dumps(saved)})")
    prompt = tab.evaluate("app.graphToPrompt()")
    assert any(":" in key for key in prompt["output"])
    schemas = comfyui.client.schemas()
    assert to_api(saved, schemas) == prompt["output"]
    assert to_api(prompt["workflow"], schemas) == prompt["output"], (
        "as pictures carry it, without idle fields"
    )


# What the packs KJNodes and rgthree add to the page: nodes that it knows and the server does not.
PAGE_NODES = """
    class Virtual extends LiteGraph.LGraphNode {
        isVirtualNode = true
        serialize_widgets = true
    }
    class Setter extends Virtual {
        constructor() {
            super("Set")
            this.addInput("*", "*")
            this.addOutput("*", "*")
            this.addWidget("text", "name", "")
        }
    }
    class Getter extends Virtual {
        constructor() { super("Get"); this.addOutput("*", "*"); this.addWidget("text", "name", "") }
        getInputLink(slot) {
            const name = this.widgets[0].value
            const setter = this.graph.nodes.find(node => node.type == "SetNode" && node.widgets[0].value == name)
            return this.graph.links[setter.inputs[slot].link]
        }
    }
    class Passing extends Virtual {
        constructor() { super("Passing"); this.addInput("", "*"); this.addOutput("", "*") }
    }
    LiteGraph.registerNodeType("SetNode", Setter)
    LiteGraph.registerNodeType("GetNode", Getter)
    for (const name of ["Reroute", "Fast Muter", "Bookmark"]) {
        LiteGraph.registerNodeType(`${name} (rgthree)`, class extends Passing {})
    }
"""


def test_nodes_of_the_page_alone_vanish_as_they_do_there(tab, comfyui):
    workflow = page(
        node(1, "LoadImage", "a.png", "image", outputs=["IMAGE", "MASK"]),
        node(2, "SetNode", "picture", outputs=["*"]),
        node(3, "GetNode", "picture", outputs=["IMAGE"]),
        node(4, "Reroute (rgthree)", outputs=["*"]),
        node(5, "PreviewImage"),
        node(6, "Fast Muter (rgthree)", outputs=["*"]),
        node(7, "Bookmark (rgthree)", "1", 1),
        node(8, "PreviewImage"),
        links=[
            (1, 0, 2, "*", "*"),
            (3, 0, 4, "", "*"),
            (4, 0, 5, "images", "IMAGE"),
            (1, 0, 6, "", "*"),
            (2, 0, 8, "images", "IMAGE"),
        ],
    )
    tab.evaluate(f"{{{PAGE_NODES}}}")
    tab.evaluate(f"app.loadGraphData({json.dumps(workflow)})")
    theirs = tab.evaluate("app.graphToPrompt()")["output"]
    assert theirs["5"]["inputs"]["images"] == ["1", 0]
    assert to_api(workflow, comfyui.client.schemas()) == theirs


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.json")), ids=lambda path: path.stem)
def test_the_page_reads_every_shipped_workflow_as_its_api_file_says(tab, path):
    tab.evaluate(f"app.loadGraphData({path.read_text(encoding='utf-8')})")
    theirs = tab.evaluate("app.graphToPrompt()")["output"]
    assert theirs == json.loads((WORKFLOWS / "api" / path.name).read_text(encoding="utf-8"))


def test_a_person_draws_the_rabbit(tab, comfyui):
    tab.evaluate("app.graph.clear()")
    tab.set_input_files(FILE_INPUT, WORKFLOWS / "mini-text-to-image.json")
    tab.wait_for_function("app.graph.nodes.some(node => node.type == 'KolorsCourseSampler')")
    tab.click(RUN_BUTTON)
    saved = "app.graph.nodes.find(node => node.type == 'SaveImage')"
    tab.wait_for_function(f"{saved}.imgs?.[0]?.complete && {saved}.imgs[0].src.includes('text-to-image')")
    assert tab.evaluate(f"{saved}.imgs[0].naturalWidth") == current_profile().size


def test_the_page_speaks_chinese_of_our_nodes_too(browser, comfyui):
    with open_comfyui(browser, comfyui.client, "zh") as tab:
        tab.evaluate(f"app.loadGraphData({(WORKFLOWS / 'mini-lora.json').read_text(encoding='utf-8')})")
        titles = tab.evaluate("app.graph.nodes.map(node => node.title)")
    assert {"加载可图", "加载可图 LoRA", "可图采样器"} < set(titles)


@pytest.mark.parametrize("kind", ["ui", "api"])
def test_a_person_loads_a_file_presses_run_and_sees_the_picture(tab, tmp_path, kind):
    api = slow(f"seen-{kind}")
    ui = page(
        node(1, "TestSlow", 3, 0.1, f"seen-{kind}", outputs=["IMAGE"]),
        node(2, "SaveImage", f"seen-{kind}"),
        links=[(1, 0, 2, "images", "IMAGE")],
    )
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(ui if kind == "ui" else api), encoding="utf-8")
    tab.evaluate("app.graph.clear()")
    tab.set_input_files(FILE_INPUT, file)
    tab.wait_for_function("app.graph.nodes.map(node => node.type).sort().join() == 'SaveImage,TestSlow'")
    tab.click(RUN_BUTTON)
    saved = "app.graph.nodes.find(node => node.type == 'SaveImage')"
    tab.wait_for_function(f"{saved}.imgs?.[0]?.src.includes('filename=seen-{kind}_')")
    tab.wait_for_function(f"{saved}.imgs[0].complete")
    assert tab.evaluate(f"{saved}.imgs[0].naturalWidth") == 8


@pytest.fixture(scope="module")
def walked(browser, comfyui):
    """The pictures of the walk of notebook 12, and the graph at its end, in the server's format."""
    with open_comfyui(browser, comfyui.client, "en", WIDTH, HEIGHT, first_visit=True) as tab:
        stops = [stop.name for stop in walk(Hand(tab))]
        return stops, tab.evaluate("app.graphToPrompt()")["output"]


def test_a_hand_puts_a_lora_between_loader_and_sampler(walked):
    by_type = {node["class_type"]: (key, node["inputs"]) for key, node in walked[1].items()}
    assert by_type[LORA][1]["model"] == [by_type[LOADER][0], 0]
    assert by_type[LORA][1]["strength"] == STRENGTH
    assert by_type[SAMPLER][1]["model"] == [by_type[LORA][0], 0]
    assert by_type["KolorsCoursePrompt"][1]["prompt"] == TEXT


def test_the_camps_translated_workflow_runs_by_hand(browser, comfyui, tmp_path):
    file = tmp_path / "camp.json"
    file.write_text(json.dumps(camp_by_hand(comfyui.client.schemas())), encoding="utf-8")
    with open_comfyui(browser, comfyui.client, "en", WIDTH, HEIGHT) as tab:
        assert [stop.name for stop in open_file(Hand(tab), file)] == ["camp"]


def test_the_notebook_shows_each_picture_of_the_walk(walked):
    text = (REPOSITORY / "notebooks" / "12_comfyui.ipynb").read_text(encoding="utf-8")
    shown = re.findall(r"by-hand/([a-z-]+)-en\.png", text)
    folder = REPOSITORY / "docs" / "figures" / "by-hand"
    assert sorted(shown) == sorted([*walked[0], "camp"])
    assert {path.name for path in folder.iterdir()} == {
        f"{name}-{of}.png" for name in shown for of in ("en", "zh")
    }


def test_the_page_asks_nobody_but_its_server(tab, comfyui):
    asked = tab.evaluate("performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)")
    assert set(asked) - {"null"} == {comfyui.server.url}
