"""`kolors-course story`: the page, the base model's row, and how it refuses."""

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from command_line import command, refused, tree
from PIL import Image

from kolors_course.cli import main
from kolors_course.cli.flags import story
from kolors_course.story import parse_storyboard

pytestmark = pytest.mark.usefixtures("tiny_profile")

STORY = """
title_zh: 月亮上的兔子
title_en: The rabbit in the moon
panels:
  - {prompt: 夜晚雪地上的一只兔子, caption_zh: 兔子在雪地上, caption_en: A rabbit in the snow}
  - {prompt: a rabbit in outer space, caption_zh: 兔子在太空, caption_en: A rabbit in space}
"""


@pytest.fixture
def storyboard(tmp_path) -> Path:
    path = tmp_path / "story.yaml"
    path.write_text(STORY, encoding="utf-8")
    return path


def pictures(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path), dtype=np.int16) for path in sorted(folder.iterdir())])


def test_a_story_and_the_base_models_row(tmp_path, storyboard, lora_file):
    plain, styled = tmp_path / "plain", tmp_path / "styled"
    assert main(command("story", storyboard, "--steps", 2, "-o", plain)) == 0
    assert main(command("story", storyboard, "--steps", 2, "--lora", lora_file, "-o", styled)) == 0
    assert tree(plain) == {"story.png", "story.json", "panels", "panels/01.png", "panels/02.png"}
    assert tree(styled) == tree(plain) | {"base", "base/01.png", "base/02.png"}
    # The base model's row is drawn without the LoRA, although the LoRA was loaded first.
    assert np.array_equal(pictures(styled / "base"), pictures(plain / "panels"))
    assert np.abs(pictures(styled / "panels") - pictures(plain / "panels")).max() > 2
    facts = json.loads((styled / "story.json").read_text(encoding="utf-8"))
    assert facts["title_en"] == "The rabbit in the moon"
    assert facts["sampling"]["steps"] == 2


def test_negative_prompts_are_drawn_with_and_written_down(capsys, tmp_path, storyboard):
    def negatives(folder, *flags):
        assert main(command("story", storyboard, "--steps", 2, "--guidance", 5, "-o", folder, *flags)) == 0
        facts = json.loads((folder / "story.json").read_text(encoding="utf-8"))
        return [panel["negative"] for panel in facts["panels"]]

    plain, given, own = (tmp_path / name for name in ("plain", "given", "own"))
    assert negatives(plain) == ["", ""]
    assert negatives(given, "--negative", "a dog") == ["a dog", "a dog"]
    storyboard.write_text(
        STORY.replace("太空,", "太空, negative: 白天,") + "negative: night\n", encoding="utf-8"
    )
    assert negatives(own) == ["night", "白天"]
    assert negatives(own, "--negative", "a dog") == ["a dog", "白天"]
    changed = np.abs(pictures(given / "panels") - pictures(plain / "panels")).max((1, 2, 3))
    assert (changed > 2).all()
    # Panel 1 has the same negative prompt as before, panel 2 another one.
    first, second = np.abs(pictures(own / "panels") - pictures(given / "panels")).max((1, 2, 3))
    assert first <= 1
    assert second > 2
    capsys.readouterr()
    negatives(own, "--guidance", 1)
    assert "negative prompts have no effect at a guidance of 1" in capsys.readouterr().out


def test_the_storyboard_in_the_help_is_one():
    text = textwrap.dedent(re.search(r"panels:\n\n(.*?)\n\n", story.__doc__, re.DOTALL)[1])
    board = parse_storyboard(text, "help")
    assert board.negative_prompts() == ["狗, a dog", "night"]
    assert [panel.seed for panel in board.panels] == [8, 21]
    assert board.panels[1].scene.place == "meadow"
    assert {"title_zh", "title_en", "seed", "negative", "characters", "panels"} == set(
        re.findall(r"^(\w+):", text, re.MULTILINE)
    )


BAD_FLAGS = {
    "--size 33x32": "33x32",
    "--steps 0": "steps",
    "--steps 9999999999": "--steps: must be a whole number",
    "--size 65536x65536": "lower the size",
    "--guidance inf": "--guidance: must be a number",
    "--negative dog --guidance 1": "--negative has no effect",
    "--lora none.safetensors": "no LoRA file",
    "--lora ink:strong": "strong",
    "--model none": "no model folder",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_bad_flags_are_refused_before_anything_is_drawn_or_written(capsys, tmp_path, storyboard, flags):
    error = refused(capsys, "story", storyboard, "-o", tmp_path / "out", *flags.split())
    assert BAD_FLAGS[flags] in error
    assert tree(tmp_path) == {"story.yaml"}


def test_a_storyboard_that_is_missing_or_faulty(capsys, tmp_path, storyboard):
    assert "none.yaml" in refused(capsys, "story", tmp_path / "none.yaml", "-o", tmp_path / "out")
    storyboard.write_text("title_zh: only", encoding="utf-8")
    assert "story.yaml" in refused(capsys, "story", storyboard, "-o", tmp_path / "out")
    assert tree(tmp_path) == {"story.yaml"}
