"""`kolors-course story`: the page, the base model's row, and how it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import command, refused, tree
from PIL import Image

from kolors_course.cli import main

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


BAD_FLAGS = {
    "--size 33x32": "33x32",
    "--steps 0": "steps",
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
