"""How blurred a picture is, and turning blurred ones away."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from kolors_course.art import draw_scene, render
from kolors_course.dataset import Filter, blur_of, check_dataset, fix_dataset, write_dataset
from kolors_course.errors import CourseError

SCENES = [draw_scene(np.random.default_rng(seed)) for seed in range(6)]


def soft(picture: Image.Image, radius: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius))


def test_a_single_edge_by_hand():
    """One step of height 9 in a row: blurred over 9 pixels it is nine steps of 1, so 8 of 9 are lost."""
    edge = np.repeat([[0] * 20 + [9] * 20], 40, axis=0).astype(np.uint8)
    assert blur_of(Image.fromarray(edge)) == pytest.approx(1 / 9)
    ramp = np.repeat([[*range(0, 240, 6)]], 40, axis=0).astype(np.uint8)  # all steps alike, but for the ends
    assert blur_of(Image.fromarray(ramp)) > 0.75
    assert blur_of(Image.new("RGB", (30, 20), "red")) == 0


@pytest.mark.parametrize("style", ["colour", "paper-cut", "ink"])
def test_every_sharp_picture_is_below_every_blurred_one(style):
    sharp = [render(scene, 128, style) for scene in SCENES]
    assert max(map(blur_of, sharp)) < min(blur_of(soft(picture, 2)) for picture in sharp)


def test_more_blur_is_more():
    picture = render(SCENES[0], 128, "colour")
    values = [blur_of(soft(picture, radius)) for radius in (0, 0.5, 1, 2, 4)]
    assert values == sorted(values)


def test_blurred_pictures_are_turned_away(tmp_path):
    picture = render(SCENES[0], 128, "colour")
    folder = write_dataset(tmp_path / "raw", [(picture, "sharp"), (soft(picture, 4), "soft")])
    limit = (blur_of(picture) + blur_of(soft(picture, 4))) / 2
    wanted = Filter(max_blur=limit)
    (finding,) = [f for f in check_dataset(folder, wanted=wanted).findings if f.topic == "filter"]
    assert finding.verdict == "warning"
    assert "1 picture is turned away by the filter, the first is 001.png (its blur is" in finding.text
    repair = fix_dataset(folder, tmp_path / "mended", wanted)
    assert repair.pictures == 1
    assert any("left out" in action and "blur" in action for action in repair.actions)


def test_nothing_is_sharp_enough(tmp_path):
    folder = write_dataset(tmp_path / "raw", [(soft(render(SCENES[0], 64, "colour"), 4), "soft")])
    report = check_dataset(folder, wanted=Filter(max_blur=0.01))
    assert any("no picture passes the filter" in problem for problem in report.problems)
    with pytest.raises(CourseError, match="nothing is left to keep"):
        fix_dataset(folder, tmp_path / "mended", Filter(max_blur=0.01))
    assert not (tmp_path / "mended").exists()


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_blur_that_is_none(value):
    with pytest.raises(CourseError, match="greatest blur"):
        Filter(max_blur=value)
