"""What the parts of a model say of themselves is looked at before a library builds from it."""

import json
import shutil

import pytest
from command_line import refused

from kolors_course.errors import CourseError
from kolors_course.kolors import load_model
from kolors_course.kolors.layouts import read_model_config
from kolors_course.kolors.skeleton import unet_skeleton
from kolors_course.platform.paths import data_dir


@pytest.fixture
def unet(tmp_path):
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        (tmp_path / part).mkdir()
    (tmp_path / "tokenizer" / "tokenizer.model").touch()
    return tmp_path / "unet"


def test_the_shipped_ones_are_read():
    for part in ("unet", "vae", "text_encoder"):
        folder = data_dir() / "kolors-mini" / part
        assert read_model_config(folder) == json.loads((folder / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 10**5, "is not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ('"2147483648"', "does not describe a part of a model"),
        ("[1]", "does not describe a part of a model"),
        ('{"layers_per_block": 1000000}', "'layers_per_block' is 1000000, which no Kolors has"),
        ('{"transformer_layers_per_block": [1, 129]}', "'transformer_layers_per_block' is 129"),
        ('{"a": {"b": [{"cross_attention_dim": 1e300}]}}', "'cross_attention_dim' is 1e+300"),
        ('{"sample_size": NaN}', "'sample_size' is nan"),
        ('{"block_out_channels": [' + "1, " * 999 + "1]}", "'block_out_channels' is [1, 1,"),
        ('{"a": "' + "x" * 2**20 + '"}', "at most 1048576 are read"),
    ],
    ids=range(12),
)
def test_what_no_kolors_has_is_refused_in_one_line(unet, content, said):
    (unet / "config.json").write_text(content, encoding="utf-8")
    for read in (read_model_config, lambda folder: unet_skeleton(folder.parent)):
        with pytest.raises(CourseError) as caught:
            read(unet)
        message = str(caught.value)
        assert said in message
        assert str(unet) in message
        assert "\n" not in message
        assert len(message) < len(str(unet)) + 200


@pytest.mark.parametrize("content", ["[1]", "null", "{", '{"num_train_timesteps": 1000000000000}'])
def test_a_schedule_too(tiny_folder, tmp_path, content):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "scheduler" / "scheduler_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(CourseError, match="scheduler_config.json"):
        load_model(folder)


@pytest.mark.parametrize("content", ["[1]", '"x"', "null", "5", "[" * 10**5])
def test_whose_defaults_suit_such_a_model_does_not_matter(capsys, unet, content):
    (unet / "config.json").write_text(content, encoding="utf-8")
    output = unet.parent / "out"
    flags = ("--dataset_path", data_dir() / "datasets" / "ink", "--output_path", output)
    assert str(unet) in refused(capsys, "train-lora", "--model", unet.parent, *flags)
    assert not output.exists()


def test_a_unet_that_does_not_say_its_size(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    file = folder / "unet" / "config.json"
    for size in (None, [8, 8]):
        config = json.loads(file.read_text(encoding="utf-8")) | {"sample_size": size}
        file.write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(CourseError, match="no whole number sample_size"):
            load_model(folder, phased=True)
