"""The exercises of notebook 07: right answers, and what the likely wrong ones are told."""

import re

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from kolors_course.art import caption, draw_scene, render
from kolors_course.art.captions import in_style
from kolors_course.dataset import assign_bucket
from kolors_course.dataset.duplicates import perceptual_hash
from kolors_course.evaluation.intervals import wilson
from kolors_course.exercises import Right
from kolors_course.exercises.data import (
    BUCKETS,
    SIZES,
    check_bucket,
    check_caption_rule,
    check_faults,
    check_perceptual_hash,
)
from kolors_course.viz.data import interval_plot, with_boxes


def phash(grey):
    low = dctn(grey)[:8, :8]
    return low > np.median(low)


def test_the_hash_is_right_and_that_of_the_library():
    assert isinstance(check_perceptual_hash.reply(phash), Right)
    picture = render(draw_scene(np.random.default_rng(5)), 32)
    grey = np.asarray(picture.convert("L"), dtype=float)
    assert (phash(grey).ravel() == perceptual_hash(picture)).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda grey: dctn(grey) > np.median(dctn(grey)), "1024 values"),
        (lambda grey: dctn(grey)[:8, :8], "numbers, not bits"),
        (lambda grey: dctn(grey)[:8, :8] > dctn(grey)[:8, :8].mean(), "Compared with the mean"),
        (lambda grey: ~phash(grey), "the other way round"),
        (lambda grey: dctn(grey)[-8:, -8:] > np.median(dctn(grey)[-8:, -8:]), "upper left corner"),
        (lambda grey: ..., "Hint"),
        (lambda: 1, "called as"),
    ],
)
def test_a_wrong_hash_is_explained(wrong, message):
    assert re.search(message, check_perceptual_hash.reply(wrong))


def test_the_bucket_is_right():
    assert isinstance(check_bucket.reply(assign_bucket), Right)
    assert len({assign_bucket(size, BUCKETS) for size in SIZES}) == len(BUCKETS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda size, buckets: buckets[2], r"\(1920, 1080\) goes to"),
        (lambda size, buckets: (1, 1), "none of the buckets"),
        (
            lambda size, buckets: min(buckets, key=lambda b: abs(b[0] / b[1] - size[0] / size[1])),
            "is no distance",
        ),
    ],
)
def test_a_wrong_bucket_is_explained(wrong, message):
    assert re.search(message, check_bucket.reply(wrong))


TRUTH = {"1.png": "blurred", "2.png": "wrong caption"}


def test_the_faults_are_found():
    assert isinstance(check_faults.reply(dict(TRUTH), TRUTH), Right)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("blurred", "wanted is file name -> fault"),
        ({"1.png": "odd"}, "'odd' is none of"),
        ({"3.png": "tiny"}, "Nothing is wrong with '3.png'"),
        ({"1.png": "tiny"}, "1.png has another fault"),
        ({"1.png": "blurred"}, "1 of 2 to go; one of them: wrong caption"),
        ({"1.png": ...}, "Hint"),
    ],
)
def test_faults_that_are_not_found_are_hinted_at(answer, message):
    assert re.search(message, check_faults.reply(answer, TRUTH))


def plain(scene, language):
    return caption(scene, language, "sentence")


def test_a_caption_rule_that_says_all():
    assert isinstance(check_caption_rule.reply(plain), Right)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda scene, language: in_style(plain(scene, language), language, "paper-cut"), "names the style"),
        (lambda scene, language: "二次元", "does not say the subject"),
        (lambda scene, language: " and ".join(s.en for s in scene.subjects), "does not say the place"),
        (lambda scene, language: plain(scene, "en"), "is not in 'zh'"),
        (lambda scene, language: 3, "not a text"),
    ],
)
def test_a_wrong_rule_is_explained(wrong, message):
    assert re.search(message, check_caption_rule.reply(wrong))


def test_the_figure_shows_every_share_where_it_is():
    rows = {"a": {"x": wilson(3, 4), "y": wilson(1, 4)}, "b": {"x": wilson(0, 4)}}
    figure = interval_plot(rows, {"x": "one", "y": "two"}, "Title")
    first, second = figure.axes
    dots = [line.get_xydata().tolist() for line in first.lines if line.get_marker() == "o"]
    assert dots == [[[0.75, 1]], [[0, 0]]]
    assert len([line for line in second.lines if line.get_marker() == "o"]) == 1
    figure.drawn()
    assert not figure.faults()


def test_a_box_is_drawn_where_it_is():
    framed = np.asarray(with_boxes(Image.new("RGB", (64, 64), "white"), [(0.25, 0.5, 0.75, 1)], "black"))
    rows, columns = np.nonzero((framed == 0).all(axis=2))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (16, 47, 32, 63)
