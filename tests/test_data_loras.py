"""The commands that data/loras/README.md gives for the committed LoRAs have the settings that the files say."""

import re
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

from kolors_course.cli import subparser
from kolors_course.cli.demo import SETTINGS
from kolors_course.cli.recipes import check_ignored, recipe_of
from kolors_course.dataset import dataset_hash, read_dataset
from kolors_course.kolors import current_profile
from kolors_course.lora import read_lora
from kolors_course.platform.paths import data_dir

ROOT = Path(__file__).resolve().parents[1]
README = (data_dir() / "loras" / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
COMMANDS = [shlex.split(line) for line in re.findall(r"^kolors-course train-lora .*$", README, re.M)]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: Path(words[3]).name)
def test_the_command_has_the_settings_of_the_file(words, monkeypatch):
    monkeypatch.delenv("KOLORS_PROFILE", raising=False)
    arguments = subparser("train-lora").parse_args(words[2:])
    check_ignored(arguments)
    recipe = recipe_of(arguments, current_profile())
    style = Path(arguments.dataset_path).name
    lora = read_lora(data_dir() / "loras" / f"{style}.safetensors")
    assert recipe.settings == lora.settings == SETTINGS
    stored = lora.metadata["recipe"]
    watching = {"sample_every", "sample_prompts"}
    now = {name: value for name, value in asdict(recipe).items() if name in stored.keys() - watching}
    assert now == {name: value for name, value in stored.items() if name not in watching}
    assert lora.metadata["dataset_hash"] == dataset_hash(read_dataset(ROOT / arguments.dataset_path))


def test_there_is_a_command_for_each_file():
    names = {path.stem for path in (data_dir() / "loras").glob("*.safetensors")}
    assert sorted(Path(words[3]).name for words in COMMANDS) == sorted(names)
