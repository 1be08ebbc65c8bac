"""Fingerprints: bits with a known answer, what they survive, and who is called alike."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import idctn

from kolors_course.art import STYLES, style_pictures
from kolors_course.dataset.duplicates import fingerprint, perceptual_hash, same_pictures, similar_pictures


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    return [picture for picture, _ in style_pictures("paper-cut", count=12, size=64, seed=5)]


def test_the_hash_is_the_sign_of_the_low_frequencies():
    """A picture made from 32 positive and 32 negative frequencies, by the inverse transform."""
    rng = np.random.default_rng(0)
    signs = rng.permutation([1.0] * 31 + [-1.0] * 32)
    frequencies = np.zeros((32, 32))
    frequencies[:8, :8] = 1500 * np.array([0, *signs]).reshape(8, 8)
    frequencies[0, 0] = 4 * 32 * 32 * 128  # the mean brightness
    grey = idctn(frequencies)
    assert grey.min() > 1
    assert grey.max() < 254
    picture = Image.fromarray(grey.round().astype(np.uint8))
    assert perceptual_hash(picture).tolist() == [True, *(signs > 0)]


def test_flat_pictures_have_no_random_bits():
    for level in range(0, 256, 15):
        bits = perceptual_hash(Image.new("L", (50, 30), level))
        assert bits.tolist() == [level > 0, *[False] * 63]


def jpeg(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


CHANGES = {
    "jpeg": jpeg,
    "half": lambda picture: picture.resize((32, 32)),
    "double": lambda picture: picture.resize((128, 128)),
    "lighter": lambda picture: picture.point(lambda level: min(255, level * 1.05)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(scenes, change):
    copies = [CHANGES[change](scene) for scene in scenes[:4]]
    fingerprints = [fingerprint(picture) for picture in (*scenes, *copies)]
    assert same_pictures(fingerprints) == []
    assert similar_pictures(fingerprints) == [[i, len(scenes) + i] for i in range(4)]


def test_the_same_scene_in_other_colours_is_another_picture():
    """The hash alone sees only grey."""
    styled = [next(style_pictures(style, count=1, size=64, seed=1))[0] for style in STYLES[:3]]
    swapped = [Image.merge("RGB", picture.split()[::-1]) for picture in styled]
    assert similar_pictures([fingerprint(picture) for picture in (*styled, *swapped)]) == []
    red, blue = Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")
    assert (perceptual_hash(red) == perceptual_hash(blue)).all()
    assert similar_pictures([fingerprint(red), fingerprint(blue)]) == []


def test_same_pictures_are_grouped_once_and_stand_for_each_other(scenes):
    one, two, three = (fingerprint(scene) for scene in scenes[:3])
    like_one = fingerprint(jpeg(scenes[0]))
    fingerprints = [one, two, one, three, like_one, two, one]
    assert same_pictures(fingerprints) == [[0, 2, 6], [1, 5]]
    assert similar_pictures(fingerprints) == [[0, 4]]


def test_equal_bytes_in_another_shape_are_another_picture():
    wide, tall = (fingerprint(Image.new("RGB", size, "red")) for size in ((8, 4), (4, 8)))
    assert wide.pixels != tall.pixels


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(scenes, count):
    fingerprints = [fingerprint(scene) for scene in scenes[:count]]
    assert same_pictures(fingerprints) == []
    assert similar_pictures(fingerprints) == []
