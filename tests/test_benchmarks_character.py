"""Consistency of a heroine: stories that ask for different scenes, and measures whose ends are known."""

import character as benchmark
import numpy as np
import pytest
from PIL import Image

from kolors_course.art import kumquat, render, render_character
from kolors_course.art.facts import read_facts
from kolors_course.evaluation import load_probe
from kolors_course.platform.paths import data_dir

HER = kumquat()
(SCENES,) = benchmark.stories(HER, 1)


def test_stories_repeat_and_show_no_place_twice_at_one_time():
    told = benchmark.stories(HER, 3)
    assert told == benchmark.stories(HER, 3)
    assert all(len({(scene.place, scene.time) for scene in scenes}) == benchmark.PANELS for scenes in told)
    assert told[0] != told[1]


@pytest.mark.parametrize(
    ("words", "name"), [("animal", "rabbit"), ("looks", "red scarf"), ("name", "Kumquat rabbit")]
)
def test_prompts_ask_for_the_scene_and_call_her_as_the_method_does(words, name):
    prompts = benchmark.prompts_of(HER, SCENES, words)
    assert name in prompts[0]
    assert all(read_facts(p)["place"] == {s.place} for p, s in zip(prompts, SCENES, strict=True))


def test_true_pictures_are_the_end_of_every_scale():
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    true = [render_character(HER, scene) for scene in SCENES]
    best = benchmark.measure(probe, HER, SCENES, true)
    assert (best.herself, best.coat, best.scarf) == (1, 0, 0)
    assert (best.look, best.variety, best.closest) == pytest.approx((1, 1, 1))
    plain = benchmark.measure(probe, HER, SCENES, [render(scene) for scene in SCENES])
    assert plain.herself == 0
    assert plain.coat > 40
    one_picture = benchmark.measure(probe, HER, SCENES, [true[0]] * len(true))
    assert one_picture.variety == one_picture.closest == 0
    assert one_picture.facts < best.facts


def test_training_pictures_again_are_copies():
    true = [render_character(HER, scene) for scenes in benchmark.stories(HER, 4) for scene in scenes]
    training = [render_character(HER, scene) for scene in SCENES]
    assert benchmark.copied(training, true[8:], training) == 1
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    assert benchmark.copied(training, true[8:], [Image.fromarray(noise)]) == 0


def test_where_she_is_is_her_box():
    mask = benchmark.place_of(HER, SCENES[0]).numpy()
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    assert mask.sum() == len(rows) * len(columns) > 100


def test_a_summary_is_over_stories():
    rows = [{"coat": 1.0}, {"coat": 3.0}]
    assert benchmark.summary(rows)["coat"]["value"] == 2
    assert benchmark.summary(rows)["coat"]["count"] == 2
