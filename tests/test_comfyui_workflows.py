"""Every shipped workflow on a real server draws what the library draws, to the last bit; and the camp's does."""

import io
import json
from dataclasses import replace

import build_object_info
import numpy as np
import pytest
import torch
from comfyui_server import RealServer, pictures_of
from command_line import command, refused
from lora_unet import trained_file
from pages import CAMP_PROMPT, camp_page
from PIL import Image

from kolors_course.cli import main
from kolors_course.comfyui.client import Preview
from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.graph import read_workflow
from kolors_course.comfyui.server import NODES
from kolors_course.comfyui.validate import find_problems
from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate, load_profile
from kolors_course.lora import load_lora, read_lora, write_lora
from kolors_course.platform.paths import data_dir
from kolors_course.story import draw_story, parse_storyboard, story_page

WORKFLOWS = NODES / "example_workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
RABBIT = "夜晚雪地上的一只兔子"
STEPS = 5  # in place of 25: as good for telling whether two pictures are the same
CAMP_SAMPLER = (1024, 1024, 0, "fixed", STEPS, 5, "EulerDiscreteScheduler", 1)
SHORT = Sampling(STEPS)  # the camp's workflow names the numbers of full Kolors


@pytest.fixture(autouse=True)
def one_thread():
    """As the server has; sums over several threads round in another way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shipped(name: str) -> dict:
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))


def named(name: str) -> Sampling:
    """The numbers that a workflow names, but for the steps: it is drawn with them, whatever the model wants."""
    inputs = next(node["inputs"] for node in shipped(name).values() if "steps" in node["inputs"])
    return Sampling(STEPS, inputs["guidance_scale"], inputs["sampler"], inputs["spacing"])


def shortened(workflow: dict) -> dict:
    for node in workflow.values():
        if "steps" in node["inputs"]:
            node["inputs"]["steps"] = STEPS
    return workflow


def model_with(**strengths: float):
    model = load_profile()
    for name, strength in strengths.items():
        load_lora(model.unet, data_dir() / "loras" / f"{name.replace('_', '-')}.safetensors", strength)
    return model


def draw_story_pages() -> list[Image.Image]:
    story = parse_storyboard(shipped("mini-story")["3"]["inputs"]["storyboard"], "storyboard")
    panels, base = (
        draw_story(model, story, named("mini-story")) for model in (model_with(ink=1.0), model_with())
    )
    return [story_page(story, panels, base, footer="ink.safetensors × 1"), *panels]


def draw_image_to_image() -> list[Image.Image]:
    model, sampling = model_with(), named("mini-image-to-image")
    (before,) = generate(model, [RABBIT], [7], sampling)
    again = replace(sampling, denoise=0.7)
    after = generate(model, ["a cat on a snowy field at night"], [8], again, picture=before)
    return [before, *after]


BY_LIBRARY = {
    "mini-text-to-image": lambda: generate(model_with(), [RABBIT], [7], named("mini-text-to-image")),
    "mini-lora": lambda: generate(model_with(ink=1.0), [RABBIT], [7], named("mini-lora")),
    "mini-two-loras": lambda: generate(
        model_with(ink=0.6, paper_cut=0.5), [RABBIT], [7], named("mini-two-loras")
    ),
    "mini-image-to-image": draw_image_to_image,
    "mini-story": draw_story_pages,
}


def assert_same(pngs: list[bytes], expected: list[Image.Image]):
    drawn = [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in pngs]
    wanted = [np.asarray(picture.convert("RGB")) for picture in expected]
    assert [picture.shape for picture in drawn] == [picture.shape for picture in wanted]
    assert all(np.array_equal(*pair) for pair in zip(drawn, wanted, strict=True))


def test_every_workflow_for_mini_is_tested():
    assert set(BY_LIBRARY) == {name for name in NAMES if name.startswith("mini-")}
    assert {name.replace("mini", "kolors") for name in BY_LIBRARY} < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_both_formats_say_the_same_and_are_valid(comfyui: RealServer, name):
    schemas = comfyui.client.schemas()
    api = to_api(read_workflow(WORKFLOWS / f"{name}.json"), schemas)
    assert api == shipped(name)
    problems = [problem for problem in find_problems(api, schemas) if problem.input != "lora_name"]
    assert problems == [], "only the learner's own LoRA may be missing"


@pytest.mark.parametrize("name", BY_LIBRARY)
def test_the_server_draws_what_the_library_draws(comfyui: RealServer, name):
    api, page = shortened(shipped(name)), read_workflow(WORKFLOWS / f"{name}.json")
    for node in api.values():
        if "filename_prefix" in node["inputs"]:
            node["inputs"]["filename_prefix"] = (
                "with-page"  # else the server answers with a file of an earlier test
            )
    pngs = pictures_of(comfyui.client, api, page)
    assert_same(pngs, BY_LIBRARY[name]())
    text = Image.open(io.BytesIO(pngs[0])).text
    assert json.loads(text["workflow"]) == page
    prompt = json.loads(text["prompt"])
    assert {key: node["inputs"] for key, node in prompt.items()} == {
        key: node["inputs"] for key, node in api.items()
    }


def test_a_picture_is_a_workflow_itself(comfyui: RealServer, tmp_path):
    (png,) = pictures_of(comfyui.client, shortened(shipped("mini-text-to-image")))
    (tmp_path / "rabbit.png").write_bytes(png)
    assert read_workflow(tmp_path / "rabbit.png") == shortened(shipped("mini-text-to-image"))


def test_previews_are_pictures(comfyui: RealServer):
    api = shipped("mini-lora")  # whose LoRA node sends a text, too
    api["4"]["inputs"]["seed"] = 99  # so that it is not remembered
    previews = [event for event in comfyui.client.run(api) if isinstance(event, Preview)]
    assert previews
    assert all(Image.open(io.BytesIO(preview.data)).size[0] > 1 for preview in previews)


@pytest.fixture
def camp_lora(tmp_path):
    """A LoRA of Kolors-mini in the camp's layout, which does not say alpha."""
    model = load_profile()
    lora = read_lora(data_dir() / "loras" / "ink.safetensors")
    return write_lora(tmp_path / "epoch=0-step=500.ckpt", lora, "diffsynth", model.unet)


def test_one_command_runs_the_camps_workflow_at_the_trained_strength(
    comfyui: RealServer, tmp_path, camp_lora, capsys
):
    workflow = tmp_path / "kolors_with_lora_example.json"
    workflow.write_text(json.dumps(camp_page(sampler=CAMP_SAMPLER)), encoding="utf-8")
    folder, output = comfyui.base.parent, tmp_path / "out"
    run = ("comfyui", "run", workflow, "--folder", folder, "-o", output)
    assert "input 'lora_name'" in refused(capsys, *run)
    assert "the file does not say its alpha" in refused(capsys, *run, "--lora", camp_lora)
    assert main(command(*run, "--lora", camp_lora, "--alpha", 4)) == 0
    assert "lora_alpha 2 is 0.5 of the 4 " in capsys.readouterr().out
    model = load_profile()
    load_lora(model.unet, camp_lora, alpha=4.0)
    expected = generate(model, [CAMP_PROMPT], [0], SHORT)
    assert_same([path.read_bytes() for path in output.iterdir()], expected)


def test_the_camps_first_workflow_without_a_lora_runs_too(comfyui: RealServer, tmp_path):
    workflow = tmp_path / "kolors_example.json"
    sampler = (1024, 1024, 1000102404233412, "fixed", STEPS, 5, "EulerDiscreteScheduler")
    workflow.write_text(json.dumps(camp_page(lora=False, sampler=sampler)), encoding="utf-8")
    output = tmp_path / "out"
    assert main(command("comfyui", "run", workflow, "--server", comfyui.server.url, "-o", output)) == 0
    expected = generate(load_profile(), [CAMP_PROMPT], [1000102404233412 % 2**32], SHORT)
    assert_same([path.read_bytes() for path in output.iterdir()], expected)


def test_a_lora_of_another_model_is_refused_and_the_server_goes_on(comfyui: RealServer, tmp_path):
    foreign = trained_file(comfyui.base / "models" / "loras", name="foreign")
    api = shortened(shipped("mini-lora"))
    api["2"]["inputs"]["lora_name"] = foreign.name
    with pytest.raises(CourseError, match="node 2 'Load Kolors LoRA' failed: ") as failed:
        list(comfyui.client.run(api))
    assert "foreign.safetensors" in str(failed.value)
    api["2"]["inputs"]["lora_name"] = "ink.safetensors"
    assert_same(pictures_of(comfyui.client, api), BY_LIBRARY["mini-lora"]())


@pytest.mark.parametrize(
    ("node", "name", "value", "message"),
    [
        ("1", "model_name", "huge", "model"),
        ("2", "lora_name", "../../../../etc/passwd", "LoRA"),
        ("2", "lora_name", "gone.safetensors", "LoRA"),
    ],
)
def test_missing_files_and_paths_out_of_the_folders_are_refused(
    comfyui: RealServer, node, name, value, message
):
    api = shipped("mini-lora")
    api[node]["inputs"][name] = value
    with pytest.raises(CourseError, match=f"node {node} .*, input '{name}': .*{message}"):
        list(comfyui.client.run(api))
    (problem,) = find_problems(api, comfyui.client.schemas())
    assert (problem.node, problem.input) == (node, name)


def test_a_stopped_drawing_leaves_a_model_that_draws_as_before(comfyui: RealServer):
    api = shipped("mini-lora")
    api["4"]["inputs"]["steps"] = 1000
    run = comfyui.client.run(api)
    next(run)
    run.close()
    assert_same(pictures_of(comfyui.client, shortened(shipped("mini-lora"))), BY_LIBRARY["mini-lora"]())


def test_what_is_written_down_of_the_nodes_is_what_the_server_says(comfyui: RealServer):
    written = json.loads((data_dir() / "workflows" / "object_info.json").read_text(encoding="utf-8"))
    assert build_object_info.slim(comfyui.client.get("/object_info")) == written
