"""A heroine is found where she is, by colours that are hers, and a background has no part in it."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kolors_course.art import Scene, cutouts, find_subject, kumquat, render, render_character
from kolors_course.evaluation import colour_difference, load_probe, look_features, sight
from kolors_course.evaluation.consistency import _lab
from kolors_course.platform.paths import data_dir

HER = kumquat()
SCENES = [
    Scene((HER.subject,), "meadow", "day", "normal", "middle", 1),
    Scene((HER.subject,), "snow", "dusk", "big", "left", 2),
    Scene((HER.subject,), "sea", "day", "normal", "right", 3),
    Scene((HER.subject,), "space", "timeless", "small", "middle", 4),
]
TRUE = [sight(HER, scene, render_character(HER, scene)) for scene in SCENES]
PLAIN = [sight(HER, scene, render(scene)) for scene in SCENES]


@pytest.mark.parametrize(
    ("rgb", "lab"),
    # W3C's CSS Color 4, section "Sample code": sRGB in CIE Lab of D50.
    [
        ((255, 255, 255), (100, 0, 0)),
        ((255, 0, 0), (54.29, 80.81, 69.89)),
        ((0, 0, 255), (29.57, 68.30, -112.03)),
    ],
)
def test_colours_are_cie_lab(rgb, lab):
    assert _lab(Image.new("RGB", (1, 1), rgb))[0, 0] == pytest.approx(lab, abs=1)


def test_she_is_found_where_she_is():
    for scene, seen in zip(SCENES, TRUE, strict=True):
        cutout = cutouts(scene)[0]
        assert seen.match.value == pytest.approx(1, abs=1e-4)
        assert seen.match.box[:2] == pytest.approx((cutout.left / 128, cutout.top / 128), abs=0.01)


def test_she_is_told_from_her_animal():
    assert all(seen.herself > 0.1 for seen in TRUE)
    assert all(seen.herself < -0.1 for seen in PLAIN)
    for one, other in zip(TRUE, PLAIN, strict=True):
        assert colour_difference(one.coat, other.coat) > 30
        assert colour_difference(one.accessory, other.accessory) > 40


def test_the_background_has_no_part():
    """Of her own colours little changes but by the light of the hour."""
    assert colour_difference(TRUE[0].coat, TRUE[2].coat) < 3
    moved = Image.new("RGB", (128, 128), "#7a1fd0")
    cutout = cutouts(SCENES[0])[0]
    height, width = cutout.alpha.shape
    box = (cutout.left, cutout.top, cutout.left + width, cutout.top + height)
    hers = render_character(HER, SCENES[0]).crop(box)
    moved.paste(hers, box[:2], Image.fromarray((255 * cutout.alpha).astype(np.uint8)))
    seen = sight(HER, SCENES[0], moved)
    assert colour_difference(seen.coat, TRUE[0].coat) < 3
    assert colour_difference(seen.accessory, TRUE[0].accessory) < 3


def test_what_she_looks_like_is_nearer_to_herself_than_to_others():
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    cat = [sight(HER, scene, render(replace(scene, subjects=(find_subject("cat"),)))) for scene in SCENES]
    hers, plain, other = (look_features(probe, [seen.cutout for seen in kind]) for kind in (TRUE, PLAIN, cat))
    assert (hers.norm(dim=1) - 1).abs().max() < 1e-5
    own = hers @ hers.T
    assert own.min() > 0.8
    assert (hers * plain).sum(1).max() < own.min()
    assert (hers * other).sum(1).max() < own.min()
