"""Names of files that are not UTF-8: what is written of them can be read.

What cannot be opened is said to be renamed.
"""

import json
import os
from types import SimpleNamespace

import pytest
from command_line import refused
from loras import random_state, small_unet

from kolors_course.errors import CourseError
from kolors_course.files import json_text
from kolors_course.kolors.layouts import ModelPaths
from kolors_course.lora import LoraSettings, read_lora, save_lora
from kolors_course.training.config_file import read_config, write_config

GBK = os.fsdecode("狗".encode("gbk"))  # two bytes, no UTF-8


def test_json_of_such_a_name_can_be_read():
    text = json_text({"name": GBK, "prompt": "狗"})
    assert '"prompt": "狗"' in text
    assert json.loads(text.encode("utf-8")) == {"name": r"\xb9\xb7", "prompt": "狗"}


def test_a_configuration_with_such_a_name_is_written(tmp_path):
    write_config(tmp_path / "config.yaml", {"dataset_path": GBK, "lora_rank": 4})
    assert read_config(tmp_path / "config.yaml") == {"dataset_path": r"\xb9\xb7", "lora_rank": "4"}


@pytest.mark.parametrize("name", [GBK, "\ud83d"])
def test_a_lora_trained_on_such_a_model_is_written(tmp_path, name):
    unet, settings = small_unet(), LoraSettings(rank=2, alpha=2.0, target_modules=("to_q",))
    path = tmp_path / "x.safetensors"
    save_lora(path, random_state(unet, settings), settings, base_model=name, dataset_hash="")
    assert read_lora(path).base_model.startswith("\\")


def test_what_safetensors_cannot_open_is_not_called_damaged(capsys, tmp_path):
    path = tmp_path / f"{GBK}.safetensors"
    path.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert "rename it or its folder" in refused(capsys, "inspect-lora", path)
    places = SimpleNamespace(unet=tmp_path, vae=tmp_path, text_encoder=tmp_path / GBK, tokenizer=tmp_path)
    with pytest.raises(CourseError, match=r"\\xb9\\xb7: its name is not UTF-8"):
        ModelPaths(**vars(places), scheduler=None, name="x")
