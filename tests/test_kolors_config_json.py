"""config.json of a network is looked at before a library builds from it."""

import json

import pytest

from kolors_course.errors import CourseError
from kolors_course.kolors.layouts import read_config
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
        assert read_config(folder) == json.loads((folder / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 10**5, "is not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ('"2147483648"', "does not describe a network"),
        ("[1]", "does not describe a network"),
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
    for read in (read_config, lambda folder: unet_skeleton(folder.parent)):
        with pytest.raises(CourseError) as caught:
            read(unet)
        message = str(caught.value)
        assert said in message
        assert str(unet) in message
        assert "\n" not in message
        assert len(message) < len(str(unet)) + 200
