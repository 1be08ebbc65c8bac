"""The two figures of the documentation."""

from pathlib import Path

import build_figures
import pytest
from PIL import Image

from kolors_course.art import PLACES, STYLES, TIMELESS, TIMES, render
from kolors_course.viz import style_figure, styled_scenes, world_figure, world_scenes

SETTINGS = [(place, time) for place in PLACES for time in ((TIMELESS,) if place == "space" else TIMES)]


def contains(sheet: Image.Image, picture: Image.Image, corners: list[tuple[int, int]]) -> bool:
    """Whether the picture stands at one of the corners of the sheet."""
    width, height = picture.size
    boxes = [(x, y, x + width, y + height) for x, y in corners]
    return any(sheet.crop(box).tobytes() == picture.tobytes() for box in boxes)


def test_the_world_has_every_place_at_every_time():
    assert [(scene.place, scene.time) for scene in world_scenes()] == SETTINGS
    assert len({subject for scene in world_scenes() for subject in scene.subjects}) >= 28


def test_the_styled_scenes_show_every_place():
    assert {scene.place for scene in styled_scenes()} == set(PLACES)
    assert {scene.time for scene in styled_scenes()} == {*TIMES, TIMELESS}


def test_world_figure_shows_all_28_scenes():
    sheet, step = world_figure(), 128 + 6
    left = sheet.width - 5 * step
    labels = (sheet.height - 6 * step) // 2
    tops = [labels * (1 + row // 3) + row * step for row in range(6)]
    corners = [(left + column * step, top) for top in tops for column in range(5)]
    assert all(contains(sheet, render(scene, 128), corners) for scene in world_scenes())


def test_style_figure_shows_each_scene_in_each_style():
    sheet, step = style_figure(32), 32 + 6
    left, top = sheet.width - 10 * step, sheet.height - 7 * step
    for row, style in enumerate(STYLES):
        for column, scene in enumerate(styled_scenes()):
            corner = (left + column * step, top + row * step)
            assert contains(sheet, render(scene, 32, style), [corner]), (style, scene.place)


@pytest.mark.parametrize("name", ["world.png", "styles.png"])
def test_committed_figures_are_small_and_wide_enough(name):
    path = build_figures.FIGURES / name
    assert path.stat().st_size < 700_000
    with Image.open(path) as picture:
        assert picture.width > 5 * 128


def test_saved_figures_keep_white_and_change_no_colour_by_more_than_one(tmp_path, capsys):
    picture = Image.linear_gradient("L").convert("RGB")
    build_figures.save(picture, Path(tmp_path) / "gradient.png")
    with Image.open(tmp_path / "gradient.png") as saved:
        pairs = zip(picture.tobytes(), saved.convert("RGB").tobytes(), strict=True)
        assert {after - before for before, after in pairs} == {0, 1}
        assert saved.getpixel((0, 255)) == (255, 255, 255)
    assert "gradient.png: 256x256" in capsys.readouterr().out
