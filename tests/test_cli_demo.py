"""The main job from one command, with two training steps: every part of it, not its quality."""

import json

from command_line import command, refused
from PIL import Image

from kolors_course.cli import main
from kolors_course.lora import read_lora


def test_the_demo_trains_and_draws_a_story(tmp_path, capsys):
    folder, scores = tmp_path / "story", tmp_path / "scores.json"
    assert main(command("demo", "--steps", 2, "--scenes", 1, "-o", folder, "--json", scores)) == 0
    printed = capsys.readouterr().out
    assert "kept" in printed
    assert str(folder / "story.png") in printed
    assert min(Image.open(folder / "story.png").size) > 500
    facts = json.loads((folder / "story.json").read_text(encoding="utf-8"))
    assert len(facts["panels"]) == 8
    assert facts["loras"] == [{"file": "lora.safetensors", "strength": 1.0}]
    assert json.loads(scores.read_text()).keys() == {"style", "before", "after"}
    assert len(read_lora(folder / "lora" / "lora.safetensors").state_dict) > 100


def test_nothing_is_measured_on_no_scene(tmp_path, capsys):
    error = refused(capsys, "demo", "--scenes", 0, "-o", tmp_path / "story")
    assert "--scenes: must be a whole number from 1" in error
    assert not (tmp_path / "story").exists()
