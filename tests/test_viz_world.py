"""The two figures of the documentation."""

from pathlib import Path

import build_figures
import numpy as np
import pytest
from PIL import Image

from kolors_course.art import PLACES, STYLES, TIMELESS, TIMES, render
from kolors_course.viz import style_figure, styled_scenes, world_figure, world_scenes
from kolors_course.viz.figures import GAP

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
    sheet, step = world_figure(), 128 + GAP
    left = sheet.width - 5 * step
    labels = (sheet.height - 6 * step) // 2
    tops = [labels * (1 + row // 3) + row * step for row in range(6)]
    corners = [(left + column * step, top) for top in tops for column in range(5)]
    assert all(contains(sheet, render(scene, 128), corners) for scene in world_scenes())


def test_style_figure_shows_each_scene_in_each_style():
    sheet, step = style_figure(32), 32 + GAP
    left, top = sheet.width - 10 * step, sheet.height - len(STYLES) * step
    for row, style in enumerate(STYLES):
        for column, scene in enumerate(styled_scenes()):
            corner = (left + column * step, top + row * step)
            assert contains(sheet, render(scene, 32, style), [corner]), (style, scene.place)


@pytest.mark.parametrize(
    ("name", "draw", "columns", "rows"),
    [("world.png", world_figure, 5, 3), ("styles.png", style_figure, 10, len(STYLES))],
)
def test_committed_figures_are_small_and_up_to_date(name, draw, columns, rows):
    """This also pins the look of every place, hour and style: Kolors-mini's weights were trained on it."""
    path, step = build_figures.FIGURES / name, 128 + GAP
    assert path.stat().st_size < 700_000

    def pictures_of(sheet: Image.Image) -> np.ndarray:
        """The lower right part, without labels, whose letters depend on the version of FreeType."""
        corner = sheet.width - columns * step, sheet.height - rows * step
        return np.asarray(sheet.convert("RGB").crop((*corner, *sheet.size)), dtype=int)

    with Image.open(path) as committed:
        difference = np.abs(pictures_of(committed) - pictures_of(draw())).max(-1)
    # The saved file changes a colour by one at most, another machine may round by one more; where a style
    # takes the nearest of few colours, rounding may choose another one in a few places.
    assert (difference > 2).mean() < 0.001


def test_saved_figures_keep_white_and_change_no_colour_by_more_than_one(tmp_path, capsys):
    picture = Image.linear_gradient("L").convert("RGB")
    build_figures.save(picture, Path(tmp_path) / "gradient.png")
    with Image.open(tmp_path / "gradient.png") as saved:
        pairs = zip(picture.tobytes(), saved.convert("RGB").tobytes(), strict=True)
        assert {after - before for before, after in pairs} == {0, 1}
        assert saved.getpixel((0, 255)) == (255, 255, 255)
    assert "gradient.png: 256x256" in capsys.readouterr().out
