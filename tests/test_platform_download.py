"""What the doctor says of a downloaded Kolors."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kolors_course.platform.download import download_command, faults


@pytest.fixture
def model(tiny_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "Kolors-diffusers"
    shutil.copytree(tiny_folder, folder)
    return folder


def test_a_complete_model_has_no_faults(model, tiny_folder):
    assert faults(model) == []


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler"])
def test_a_missing_folder_is_named(model, part):
    shutil.rmtree(model / part)
    assert faults(model)[0] == f"no folder {part}/"


def test_missing_and_cut_files_are_named(model):
    (model / "unet" / "config.json").unlink()
    (model / "tokenizer" / "tokenizer.model").unlink()
    weights = next((model / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    for path in (model / "text_encoder").glob("*.safetensors"):
        path.write_bytes(b"")
    assert faults(model) == [
        "no tokenizer/tokenizer.model",
        "unet/config.json is missing",
        f"vae/{weights.name} is cut short or damaged",
        "text_encoder/model.safetensors is cut short or damaged",
    ]


def test_parts_of_split_weights_are_counted_in_the_kind_that_was_begun(model):
    folder = model / "text_encoder"
    (folder / "model.safetensors").unlink()
    names = [f"model.fp16-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    save_file({"a": torch.ones(2)}, folder / names[1])
    index = {"weight_map": {"a": names[1], "b": names[0], "c": names[2]}}
    (folder / "model.safetensors.index.fp16.json").write_text(json.dumps(index), encoding="utf-8")
    other = {"weight_map": {"a": "model-00001-of-00007.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(other), encoding="utf-8")
    assert faults(model) == [f"text_encoder/{names[0]} is missing", f"text_encoder/{names[2]} is missing"]


def test_an_unfinished_download_is_told(model):
    (model / "unet" / "abc.incomplete").touch()
    assert faults(model) == ["1 unfinished downloads"]


def test_the_download_command_names_the_folder():
    command = download_command(Path("models") / "Kolors-diffusers")
    assert command.startswith("modelscope download --model Kwai-Kolors/Kolors-diffusers ")
    assert command.endswith("--local_dir models/Kolors-diffusers")


@pytest.mark.parametrize(
    "header", [b"[" * 50_000, b"[]", b'{"a": 1}', b'{"a": {"data_offsets": "x"}}', b"\xff"]
)
def test_a_header_of_any_kind_is_told(model, header):
    weights = next((model / "vae").glob("*.safetensors"))
    weights.write_bytes(len(header).to_bytes(8, "little") + header)
    assert faults(model) == [f"vae/{weights.name} is cut short or damaged"]
