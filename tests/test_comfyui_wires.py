"""What the nodes are made of, without ComfyUI: names and paths, pictures and latents, the pack as a folder."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from build_workflows import FOLDER, workflows
from PIL import Image
from tiny import TEXT_WIDTH

from kolors_course.comfyui.convert import to_api
from kolors_course.comfyui.files import look_up, lora_files, model_folders, text_encoder_folders
from kolors_course.comfyui.schema import read_schemas
from kolors_course.comfyui.server import NODES
from kolors_course.comfyui.wires import (
    StyledModel,
    encode_pair,
    from_latent,
    image_to_pictures,
    pictures_to_image,
    to_latent,
)
from kolors_course.errors import CourseError
from kolors_course.kolors.skeleton import kolors_skeleton


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}", encoding="utf-8")
    return path


def test_models_are_listed_by_their_folders_and_the_first_root_wins(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (
        first / "Kolors",
        first / "Kwai-Kolors" / "Kolors-diffusers",
        second / "Kolors",
        second / "b",
    ):
        write(folder / "unet" / "config.json")
    write(second / "not-a-model" / "config.json")
    assert model_folders([first, second, tmp_path / "none"]) == {
        "Kolors": first / "Kolors",
        "Kwai-Kolors/Kolors-diffusers": first / "Kwai-Kolors" / "Kolors-diffusers",
        "b": second / "b",
    }


def test_text_encoders_need_a_tokenizer_in_them_or_beside_them(tmp_path):
    for name in ("inside", "group/text_encoder", "none"):
        write(tmp_path / name / "config.json")
    write(tmp_path / "inside" / "tokenizer.model")
    write(tmp_path / "group" / "tokenizer" / "tokenizer.model")
    assert sorted(text_encoder_folders([tmp_path])) == ["group/text_encoder", "inside"]


def test_loras_are_the_courses_own_and_those_that_were_trained(tmp_path):
    shipped, outputs = tmp_path / "loras", tmp_path / "outputs"
    ink = write(shipped / "ink.safetensors")
    trained = write(outputs / "demo" / "ink" / "lora.safetensors")
    write(outputs / "demo" / "checkpoint.safetensors")
    assert lora_files(shipped, outputs) == {
        "ink.safetensors": ink,
        "outputs/demo/ink/lora.safetensors": trained,
    }


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../b", "A", ""])
def test_a_name_that_was_not_listed_leads_nowhere(tmp_path, name):
    listed = {"a": tmp_path / "a", "b": tmp_path / "b"}
    assert look_up("a", listed, "LoRA", "models/loras") == tmp_path / "a"
    with pytest.raises(CourseError, match=r"there are: a, b\); put it into models/loras, press R"):
        look_up(name, listed, "LoRA", "models/loras")


def test_pictures_survive_the_way_through_comfyui():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(2, 128, 3)
    image = pictures_to_image([Image.fromarray(pixels)] * 2)
    assert (image.shape, image.dtype) == ((2, 2, 128, 3), torch.float32)
    # As Save Image does it.
    assert np.array_equal((255.0 * image[1].numpy()).clip(0, 255).astype(np.uint8), pixels)
    with_alpha = torch.cat([image, torch.zeros_like(image[..., :1])], dim=-1)
    assert np.array_equal(np.asarray(image_to_pictures(with_alpha)[0]), pixels)


def test_latents_survive_the_way_through_comfyui(tiny_model):
    latents = torch.randn(2, 4, 8, 8)
    assert torch.equal(from_latent(tiny_model, to_latent(latents)), latents)


@pytest.mark.parametrize(
    ("latent", "words"),
    [
        ({"samples": torch.zeros(1, 16, 8, 8)}, "another kind of model"),
        ({"samples": torch.zeros(1, 4, 1, 8, 8)}, "another kind of model"),
        ({"samples": torch.zeros(1, 4, 8, 8), "noise_mask": torch.zeros(1, 8, 8)}, "remove the mask"),
        ({"samples": torch.zeros(1, 4, 8, 9)}, "must be multiples of"),
    ],
)
def test_latents_of_others_are_refused(tiny_model, latent, words):
    with pytest.raises(CourseError, match=words):
        from_latent(tiny_model, latent)


def test_a_lora_leaves_the_model_that_came_in_as_it_was(tiny_model, lora_file):
    bare = StyledModel(tiny_model, tiny_model)
    names = list(tiny_model.unet.state_dict())
    styled, report = bare.with_lora(lora_file, 0.5)
    twice, _ = styled.with_lora(lora_file, -1.0)
    assert list(tiny_model.unet.state_dict()) == names
    assert styled.base is tiny_model
    assert twice.loras == ((lora_file, 0.5), (lora_file, -1.0))
    assert [len(model.model.unet.peft_config) for model in (styled, twice)] == [1, 2]
    assert report.matched == report.expected > 0


def test_a_prompt_is_for_models_of_its_kind(tiny_model):
    pair = encode_pair(tiny_model, "一只兔子", "")
    assert (len(pair.prompt), len(pair.negative), len(pair.rows_for(tiny_model, 3))) == (1, 1, 3)
    full = replace(tiny_model, unet=kolors_skeleton())
    with pytest.raises(
        CourseError, match=rf"read by another model \({TEXT_WIDTH} numbers a token, this one needs 4096\)"
    ):
        pair.rows_for(full, 1)


def test_the_workflows_are_those_of_the_script():
    expected = workflows()
    found = {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*.json")}
    assert found == expected


def object_info() -> dict:
    """Enough of /object_info to convert our workflows: the inputs in the order of the API files."""
    info = {}
    for text in (text for name, text in workflows().items() if name.startswith("api/")):
        for node in json.loads(text).values():
            entries = {
                name: ["LINK" if isinstance(value, list) else kind_of(value), {}]
                for name, value in node["inputs"].items()
            }
            known = info.setdefault(node["class_type"], {"input": {"required": {}}, "output": []})
            known["input"]["required"] |= entries
    return info


def kind_of(value) -> str:
    return {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING"}[type(value)]


@pytest.mark.parametrize("name", [name for name in workflows() if not name.startswith("api/")])
def test_both_formats_of_a_workflow_say_the_same(name):
    files = workflows()
    page, api = json.loads(files[name]), json.loads(files[f"api/{name}"])
    converted = to_api(page, read_schemas(object_info()))
    assert {key: (node["class_type"], node["inputs"]) for key, node in converted.items()} == {
        key: (node["class_type"], node["inputs"]) for key, node in api.items()
    }


def test_no_two_nodes_of_a_page_overlap():
    for name, text in workflows().items():
        if name.startswith("api/"):
            continue
        boxes = [(*node["pos"], *node["size"]) for node in json.loads(text)["nodes"]]
        for i, (x, y, width, height) in enumerate(boxes):
            for u, v, w, h in boxes[:i]:
                assert x + width <= u or u + w <= x or y + height <= v or v + h <= y, name


def test_a_copy_of_the_pack_without_the_library_says_how_to_get_it(tmp_path):
    shutil.copytree(NODES, tmp_path / "custom_nodes" / "kolors")
    code = "import kolors"
    command = [sys.executable, "-S", "-c", code]  # -S: no installed packages
    folder = tmp_path / "custom_nodes"
    done = subprocess.run(command, cwd=folder, env={"PATH": ""}, capture_output=True, text=True)
    assert "pip install PATH_OF_THE_COURSE" in done.stderr.strip().splitlines()[-1]
