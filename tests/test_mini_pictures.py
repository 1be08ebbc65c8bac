"""Rendering in bulk and the store that keeps it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kolors_course.art import BASE_STYLE, is_held_out, render, style_test_subjects
from kolors_course.errors import CourseError
from kolors_course.mini.pictures import (
    LORA_STYLES,
    PictureSpec,
    PictureStore,
    choose_scene,
    draw_pictures,
    in_parallel,
    to_model,
)

SPEC = PictureSpec(seed=5, size=16, styled_share=0.7)


def test_a_picture_depends_on_its_number_only():
    scene, style = choose_scene(SPEC, 7)
    drawn = draw_pictures(SPEC, 3, start=6)[1]
    assert torch.equal(drawn, torch.from_numpy(np.array(render(scene, 16, style))).permute(2, 0, 1))


def test_held_out_scenes_and_lora_test_subjects_stay_out():
    chosen = [choose_scene(SPEC, i) for i in range(600)]
    assert not any(is_held_out(scene) for scene, _ in chosen)
    styles = {style for _, style in chosen}
    assert {BASE_STYLE, *LORA_STYLES} <= styles
    unseen = set(style_test_subjects())
    assert not any(unseen & set(scene.subjects) for scene, style in chosen if style in LORA_STYLES)
    everything = [choose_scene(replace(SPEC, lora_subjects="all"), i) for i in range(600)]
    assert any(unseen & set(scene.subjects) for scene, style in everything if style in LORA_STYLES)


def test_the_share_of_styles():
    styles = [choose_scene(SPEC, i)[1] for i in range(2000)]
    assert sum(style != BASE_STYLE for style in styles) / 2000 == pytest.approx(0.7, abs=0.04)
    assert {choose_scene(replace(SPEC, styled_share=0.0), i)[1] for i in range(50)} == {BASE_STYLE}


def test_the_store_reads_what_would_be_drawn(tmp_path):
    store = PictureStore(SPEC, tmp_path / "pictures", chunk=4)
    assert torch.equal(store.read(3, 9), draw_pictures(SPEC, 6, start=3))
    assert sorted(path.name for path in store.folder.glob("*.npy")) == ["00000.npy", "00001.npy", "00002.npy"]


def test_the_store_draws_only_what_is_missing(tmp_path):
    store = PictureStore(SPEC, tmp_path, chunk=4)
    store.draw(8)
    kept = (tmp_path / "00001.npy").stat().st_mtime_ns
    (tmp_path / "00000.npy").unlink()
    store.draw(8)
    assert (tmp_path / "00000.npy").is_file()
    assert (tmp_path / "00001.npy").stat().st_mtime_ns == kept


def test_the_store_refuses_pictures_of_other_settings(tmp_path):
    PictureStore(SPEC, tmp_path, chunk=4).draw(4)
    with pytest.raises(CourseError, match=r"drawn with other settings .*spec.txt"):
        PictureStore(replace(SPEC, seed=6), tmp_path, chunk=4).draw(4)


def test_jobs_come_back_in_order():
    assert list(in_parallel(abs, [-3, -1, -2])) == [3, 1, 2]
    assert list(in_parallel(abs, [-3])) == [3]
    assert list(in_parallel(abs, [])) == []


def test_pixels_for_the_model():
    assert to_model(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]
