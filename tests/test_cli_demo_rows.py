"""The base model's row of the demo: kept, and only for what it was made of."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from kolors_course.art import LORA_STYLES
from kolors_course.cli.demo import row_work
from kolors_course.cli.demo_rows import StoryRow, base_folder, read_base, write_base
from kolors_course.cli.flags.demo import SCENES
from kolors_course.errors import CourseError
from kolors_course.evaluation import Scores
from kolors_course.kolors import current_profile, load_profile
from kolors_course.platform.paths import data_dir
from kolors_course.story import read_storyboard

STORY = data_dir() / "stories" / "moon_rabbit.yaml"


@pytest.fixture(scope="module")
def work():
    return row_work(load_profile(current_profile("mini"), "cpu"), read_storyboard(STORY), SCENES)


@pytest.fixture
def base():
    panels = tuple(Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(3))
    return StoryRow(panels, {style: Scores(2, {"subject": 0.5}, 0.25) for style in LORA_STYLES})


def test_what_is_kept_comes_back(base, tmp_path):
    write_base(tmp_path / "kept", "key", base)
    again = read_base(tmp_path / "kept", "key", 3)
    assert again.scores == base.scores
    assert [panel.tobytes() for panel in again.panels] == [panel.tobytes() for panel in base.panels]


def test_a_new_row_replaces_the_old_one(base, tmp_path):
    write_base(tmp_path, "old", base)
    write_base(tmp_path, "new", replace(base, panels=base.panels[:2]))
    assert read_base(tmp_path, "old", 3) is None
    assert len(read_base(tmp_path, "new", 2).panels) == 2


def test_nothing_is_kept_where_nothing_lies(tmp_path):
    assert read_base(tmp_path, "key", 3) is None


@pytest.mark.parametrize("damage", ["scores", "panels", "one panel"])
def test_half_a_row_is_told(base, tmp_path, damage):
    write_base(tmp_path, "key", base)
    if damage != "scores":
        files = sorted(tmp_path.glob("*.png"))
        for file in files if damage == "panels" else files[:1]:
            file.unlink()
    else:
        index = json.loads((tmp_path / "base.json").read_text())
        del index["scores"]["ink"]
        (tmp_path / "base.json").write_text(json.dumps(index))
    with pytest.raises(CourseError, match="is not whole; restore it with: git checkout"):
        read_base(tmp_path, "key", 3)


def test_the_key_is_of_all_that_decides(work):
    def changed(**changes):
        return replace(work, **changes).key

    story, key = work.storyboard, work.key
    first = replace(story.panels[0], seed=99)
    assert changed(storyboard=replace(story, panels=(first, *story.panels[1:]))) != key
    assert changed(prompts=work.prompts[:-1]) != key
    assert changed(sampling=replace(work.sampling, steps=5)) != key
    assert changed(sampling=replace(work.sampling, batch_size=1)) == key
    with torch.no_grad():
        bias = work.model.unet.conv_out.bias
        bias += 1
        assert work.key != key
        bias -= 1


def test_the_kept_row_is_that_of_the_committed_model(work):
    """Else `make demo` draws it anew, and is a minute longer than README says."""
    kept = read_base(base_folder(STORY), work.key, len(work.storyboard.panels))
    assert kept is not None
    assert len(kept.panels) == len(work.storyboard.panels)
    assert all(np.asarray(panel).std() > 10 for panel in kept.panels)
    assert {scores.prompts for scores in kept.scores.values()} == {len(work.prompts)}
