"""Drawing a story and keeping it in a folder."""

import json
from dataclasses import asdict, replace
from unittest.mock import create_autospec

import numpy as np
import pytest
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate
from kolors_course.platform.paths import data_dir
from kolors_course.story import draw_story, read_storyboard, write_story

PAGE = Image.new("RGB", (9, 9), "white")


@pytest.fixture(scope="module")
def moon_rabbit():
    return read_storyboard(data_dir() / "stories" / "moon_rabbit.yaml")


def pictures(count, colour="red"):
    return [Image.new("RGB", (4, 4), colour) for _ in range(count)]


def difference(a, b) -> int:
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def numbered(folder, count):
    return [f"{folder}/{number:02d}.png" for number in range(1, count + 1)]


def test_panels_are_drawn_from_their_prompts_and_seeds(moon_rabbit, monkeypatch):
    drawn = create_autospec(generate, return_value=pictures(8))
    monkeypatch.setattr("kolors_course.kolors.generate", drawn)
    sampling, model, progress, watch = Sampling(steps=3), object(), print, repr
    assert draw_story(model, moon_rabbit, sampling, progress, watch) == drawn.return_value
    prompts = [panel.prompt for panel in moon_rabbit.panels]
    seeds = [panel.seed for panel in moon_rabbit.panels]
    drawn.assert_called_once_with(model, prompts, seeds, sampling, progress, negatives=[""] * 8, watch=watch)


def test_each_panel_keeps_away_from_its_own_and_is_what_generate_draws(moon_rabbit, tiny_model):
    first, second, third = moon_rabbit.panels[:3]
    panels = (first, replace(second, negative="a dog"), replace(third, negative=""))
    story = replace(moon_rabbit, panels=panels, negative="night")
    drawn = draw_story(tiny_model, story, Sampling(steps=2))
    for panel, negative, picture in zip(panels, ("night", "a dog", ""), drawn, strict=True):
        alone = Sampling(steps=2, negative_prompt=negative)
        assert difference(picture, generate(tiny_model, [panel.prompt], [panel.seed], alone)[0]) <= 1
        other = Sampling(steps=2, negative_prompt="a whale in the daytime")
        assert difference(picture, generate(tiny_model, [panel.prompt], [panel.seed], other)[0]) > 1
    given = draw_story(tiny_model, story, Sampling(steps=2, negative_prompt="a whale in the daytime"))
    changed = [difference(a, b) > 1 for a, b in zip(drawn, given, strict=True)]
    assert changed == [True, False, False]


def test_the_folder_holds_pictures_page_and_facts(moon_rabbit, tmp_path):
    sampling, scores = (
        Sampling(steps=3, size=(64, 64), negative_prompt="snow"),
        {"style": 0.97, "prompt": {"place": 1.0}},
    )
    folder = tmp_path / "new" / "story"
    page = write_story(
        folder,
        moon_rabbit,
        pictures(8),
        pictures(8, "blue"),
        PAGE,
        sampling=sampling,
        model="kolors-mini",
        loras=[(tmp_path / "ink.safetensors", 0.8)],
        scores=scores,
    )
    assert page == folder / "story.png"
    assert tree(folder) == [*numbered("base", 8), *numbered("panels", 8), "story.json", "story.png"]
    assert Image.open(folder / "panels" / "08.png").getpixel((0, 0)) == (255, 0, 0)
    assert Image.open(folder / "base" / "08.png").getpixel((0, 0)) == (0, 0, 255)
    assert Image.open(page).size == (9, 9)
    facts = json.loads((folder / "story.json").read_text(encoding="utf-8"))
    assert facts["title_zh"] == moon_rabbit.title_zh
    assert facts["scores"] == scores
    assert facts["model"] == "kolors-mini"
    assert facts["loras"] == [{"file": "ink.safetensors", "strength": 0.8}]
    assert facts["sampling"] == asdict(sampling) | {"size": [64, 64]}
    panel = moon_rabbit.panels[6]
    assert facts["panels"][6] == {
        "prompt": panel.prompt,
        "negative": "snow",
        "seed": panel.seed,
        "caption_zh": panel.caption_zh,
        "caption_en": panel.caption_en,
        "scene": {
            "subjects": ["house"],
            "place": "meadow",
            "time": "dusk",
            "size": "big",
            "position": "middle",
        },
        "picture": "panels/07.png",
        "base_picture": "base/07.png",
    }


def test_a_shorter_story_leaves_nothing_of_the_longer_one(moon_rabbit, tmp_path):
    write_story(tmp_path, moon_rabbit, pictures(8), pictures(8), PAGE)
    (tmp_path / "panels" / "mine.png").touch()
    first = replace(moon_rabbit.panels[0], scene=None)
    write_story(tmp_path, replace(moon_rabbit, panels=(first,)), pictures(1), None, PAGE)
    assert tree(tmp_path) == ["panels/01.png", "panels/mine.png", "story.json", "story.png"]
    facts = json.loads((tmp_path / "story.json").read_text(encoding="utf-8"))
    assert facts["sampling"] is None
    assert [(panel["scene"], panel["base_picture"]) for panel in facts["panels"]] == [(None, None)]


def test_what_cannot_be_written_leaves_the_folder_untouched(moon_rabbit, tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_story(tmp_path, moon_rabbit, pictures(8), None, PAGE, scores={"style": float("nan")})
    with pytest.raises(ValueError, match="zip"):
        write_story(tmp_path, moon_rabbit, pictures(7), None, PAGE)
    assert tree(tmp_path) == []


def test_a_folder_that_is_a_file_is_refused(moon_rabbit, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(CourseError, match=r"cannot write to .*taken"):
        write_story(tmp_path / "taken", moon_rabbit, pictures(8), None, PAGE)
