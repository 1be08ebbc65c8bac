"""The ready-made style data sets, and the room that makes them."""

import csv

import numpy as np
import pytest

from kolors_course.art import STYLES, is_held_out, style_pictures, style_set, style_test_subjects
from kolors_course.dataset import check_dataset, open_picture, read_dataset
from kolors_course.errors import CourseError
from kolors_course.platform.paths import data_dir

SEEDS = {"paper-cut": 1, "ink": 2, "pixel": 3}  # as in scripts/build_datasets.py
DATASETS = data_dir() / "datasets"


@pytest.mark.parametrize("name", SEEDS)
def test_the_data_set_is_ready_to_train_on(name):
    dataset = read_dataset(DATASETS / name)
    assert len(dataset) == 48
    assert {sample.size for sample in dataset.samples} == {(128, 128)}
    report = check_dataset(DATASETS / name, training_size=(128, 128))
    assert (report.ok, report.problems, report.warnings) == (True, (), ())


@pytest.mark.parametrize("name", SEEDS)
def test_the_table_is_in_the_camps_form(name):
    data = (DATASETS / name / "train" / "metadata.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(data.decode("utf-8-sig").splitlines()))
    assert rows[0] == ["file_name", "text"]
    assert [row[0] for row in rows[1:]] == [f"{i:03d}.png" for i in range(48)]


@pytest.mark.parametrize("name", SEEDS)
def test_the_data_set_is_what_the_script_writes(name):
    samples = read_dataset(DATASETS / name).samples
    for sample, (picture, caption) in zip(samples, style_pictures(name, seed=SEEDS[name]), strict=True):
        assert sample.text == caption
        committed = np.asarray(open_picture(sample.path), dtype=int)
        # Equal on the machine that made them; elsewhere floating point may round another way.
        np.testing.assert_allclose(
            committed, np.asarray(picture, dtype=int), atol=2, err_msg=sample.path.name
        )


@pytest.mark.parametrize("name", SEEDS)
def test_both_languages_have_their_share(name):
    chinese = [sample for sample in read_dataset(DATASETS / name).samples if not sample.text.isascii()]
    assert 0.35 < len(chinese) / 48 < 0.65


def test_style_pictures_show_the_training_side_of_both_splits(monkeypatch):
    drawn, draw = [], style_set.render

    def render(scene, size, name):
        drawn.append((scene, size, name))
        return draw(scene, size, name)

    monkeypatch.setattr(style_set, "render", render)
    pictures = [picture for picture, _ in style_pictures("line-art", count=60, size=32, seed=3)]
    assert {picture.size for picture in pictures} == {(32, 32)}
    assert {(size, name) for _, size, name in drawn} == {(32, "line-art")}
    test = set(style_test_subjects())
    assert not [scene for scene, _, _ in drawn if is_held_out(scene) or test & set(scene.subjects)]


def test_captions_do_not_name_the_style():
    names = ("paper-cut", "paper cut", "papercut", "ink", "剪纸", "水墨")
    captions = [caption for _, caption in style_pictures("paper-cut", count=100, size=16)]
    words = {word.strip(",") for caption in captions for word in caption.split()}
    assert not words & set(names)
    assert not [caption for caption in captions if "剪纸" in caption or "水墨" in caption]


def test_a_seed_makes_the_same_data_set_and_another_a_different_one():
    first, again, other = (
        [(picture.tobytes(), caption) for picture, caption in style_pictures("ink", count=4, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert not set(first) & set(other)


def test_an_unknown_style_is_one_clear_line():
    with pytest.raises(CourseError, match=f"unknown style 'oil'; known styles: {STYLES[0]}, "):
        next(style_pictures("oil"))
