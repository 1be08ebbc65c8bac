"""The heroine: painted over her animal, and over nothing else, in the light of the scene."""

from dataclasses import replace

import numpy as np
import pytest

from kolors_course.art import (
    PLACES,
    POSITIONS,
    SIZES,
    TIMELESS,
    TIMES,
    Scene,
    accessory_mask,
    caption,
    character_cutout,
    character_pictures,
    cutouts,
    find_subject,
    kumquat,
    portrait,
    render,
    render_character,
)
from kolors_course.art.facts import read_facts
from kolors_course.art.subject import sprite
from kolors_course.errors import CourseError

HER = kumquat()
RABBIT, CAT = find_subject("rabbit"), find_subject("cat")
SETTINGS = [(place, time) for place in PLACES for time in ((TIMELESS,) if place == "space" else TIMES)]


@pytest.mark.parametrize(("place", "time"), SETTINGS)
def test_she_is_what_the_world_would_draw_if_it_had_her_drawing(place, time, monkeypatch):
    """So she is placed, lit, and hidden by the waves as everything is."""
    for seed, size in enumerate(SIZES):
        position = POSITIONS[(seed + 1) % 3]
        scene = Scene((HER.subject,), place, time, size, position, seed)
        hers = np.asarray(render_character(HER, scene), dtype=int)
        with monkeypatch.context() as patch:
            patch.setattr("kolors_course.art.scene.sprite", lambda subject, pack: portrait(HER))
            assert np.abs(hers - np.asarray(render(scene), dtype=int)).max() <= 2


def test_outside_her_outline_nothing_changes():
    scene = Scene((CAT, RABBIT), "city", "night", seed=5)
    changed = (np.asarray(render(scene)) != np.asarray(render_character(HER, scene))).any(2)
    outline = np.zeros_like(changed)
    cutout = cutouts(scene)[1]
    height, width = cutout.alpha.shape
    outline[cutout.top : cutout.top + height, cutout.left : cutout.left + width] = cutout.alpha > 0
    assert changed.sum() > 500
    assert not (changed & ~outline).any()


def test_her_cutout_is_her_animals_with_her_colours():
    scene = Scene((HER.subject,), "sea", "day", "big", "left", 3)
    plain, hers = cutouts(scene)[0], character_cutout(HER, scene)
    assert (hers.left, hers.top) == (plain.left, plain.top)
    assert np.array_equal(hers.alpha, plain.alpha)
    redder = hers.colours[plain.alpha > 0.9].mean(0) - plain.colours[plain.alpha > 0.9].mean(0)
    assert redder[0] > 0 > redder[2]


def test_her_scarf_is_a_part_of_her():
    drawing, mask = portrait(HER), np.asarray(accessory_mask(HER))
    assert drawing.size == accessory_mask(HER).size == sprite(RABBIT, "colour").size
    assert 0.03 < (mask > 0).mean() < 0.2
    red, green, _ = np.asarray(drawing.convert("RGB"), dtype=int)[mask > 0].mean(0)
    assert red > 3 * green


def test_captions_call_her_by_her_name_or_by_her_looks():
    scene = Scene((HER.subject,), "snow", "night")
    assert caption(scene, "en") == "a Kumquat rabbit on a snowy field at night"
    assert caption(scene, "zh") == "夜晚雪地上的一只金桔兔子"
    looks = replace(scene, subjects=(HER.described,))
    assert "a ginger rabbit with a red scarf" in caption(looks, "en")
    assert read_facts(caption(looks, "zh"))["subject"] == {"rabbit"}


def test_a_scene_without_her_animal_is_refused():
    with pytest.raises(CourseError, match="the scene shows no rabbit, which is what Kumquat is"):
        render_character(HER, Scene((CAT,), "city", "day"))


def test_her_data_set_repeats_and_keeps_to_its_places():
    one, two = (list(character_pictures(HER, 6, places=("snow", "room"))) for _ in range(2))
    assert [text for _, text in one] == [text for _, text in two]
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(one, two, strict=True))
    for _, text in one:
        assert read_facts(text)["place"] <= {"snow", "room"}
        assert "Kumquat" in text or "金桔" in text
