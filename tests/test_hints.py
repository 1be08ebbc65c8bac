"""Hints of pictures and scenes: what is where, how they are written, and what is refused."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from kolors_course.art import STYLES, Scene, cutouts, draw_scene, find_subject, render
from kolors_course.errors import CourseError
from kolors_course.hints import (
    HINT_KINDS,
    HINTS,
    AskedHint,
    canny,
    draw_boxes,
    drawing,
    parse_hint,
    read_boxes,
    scene_boxes,
    scene_depth,
    scene_hint,
    scene_lines,
)

RABBIT = Scene((find_subject("rabbit"),), "snow", "night", seed=3)
PAIR = Scene((find_subject("cat"), find_subject("snowman")), "city", "day", seed=1)


def shape_of(scene, style="colour", px=128):
    shape = np.zeros((px, px), bool)
    for cut in cutouts(scene, px, style):
        height, width = cut.alpha.shape
        shape[cut.top : cut.top + height, cut.left : cut.left + width] |= cut.alpha > 0.5
    return shape


def test_canny_finds_a_square_by_its_outline():
    picture = Image.new("RGB", (64, 64), "black")
    ImageDraw.Draw(picture).rectangle((16, 20, 47, 51), "white")
    found = np.asarray(canny(picture))
    rows, columns = np.nonzero(found[..., 0])
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == pytest.approx([20, 51, 16, 47], abs=1)
    assert not found[24:48, 20:44].any()
    assert (found.min(-1) == found.max(-1)).all()


def test_canny_sees_edges_between_colours_as_light_as_each_other():
    picture = Image.new("RGB", (32, 32), (200, 0, 0))
    picture.paste((0, 102, 0), (16, 0, 32, 32))
    grey = np.asarray(picture.convert("L"), int)
    assert np.ptp(grey) <= 1
    columns = np.nonzero(np.asarray(canny(picture))[..., 0].any(axis=0))[0]
    assert set(columns.tolist()) <= {15, 16}
    assert len(columns) > 0


def test_a_drawing_is_white_on_black_either_way():
    paper = Image.new("RGB", (32, 32), "white")
    ImageDraw.Draw(paper).line((4, 4, 28, 28), "black", 2)
    board = Image.fromarray(255 - np.asarray(paper))
    assert drawing(paper).tobytes() == drawing(board).tobytes()
    assert np.asarray(drawing(paper)).mean() < 40


@pytest.mark.parametrize("style", STYLES)
def test_boxes_hold_the_subjects_exactly(style):
    for scene in (RABBIT, PAIR):
        red = np.asarray(scene_boxes(scene, 128, style)).astype(int)
        assert set(map(tuple, red.reshape(-1, 3).tolist())) == {(0, 0, 0), (255, 0, 0)}
        boxes = np.zeros((128, 128), bool)
        for cut in cutouts(scene, 128, style):
            height, width = cut.alpha.shape
            boxes[cut.top : cut.top + height, cut.left : cut.left + width] = True
        assert np.array_equal(red[..., 0] > 0, boxes)


def test_depth_is_far_in_the_sky_and_nearer_below_and_a_subject_stands_out():
    depth = np.asarray(scene_depth(RABBIT))[..., 0].astype(int)
    shape = shape_of(RABBIT)
    assert (depth[0] == 0).all()
    empty = ~shape.any(axis=0)
    assert empty.any()
    column = depth[:, np.nonzero(empty)[0][0]]
    assert (np.diff(column) >= 0).all()
    assert column[-1] > 150
    assert np.unique(depth[shape]).size == 1
    foot = np.nonzero(shape.any(axis=1))[0].max()
    assert depth[shape][0] > depth[foot][~shape[foot]].max()
    space = Scene(RABBIT.subjects, "space", "timeless", seed=1)
    assert (np.asarray(scene_depth(space))[..., 0][~shape_of(space)] == 0).all()


def test_lines_are_the_edges_of_the_picture_or_of_what_stands_in_it():
    whole = np.asarray(scene_lines(PAIR))
    assert np.array_equal(whole, np.asarray(canny(render(PAIR))))
    near = ndimage.binary_dilation(shape_of(PAIR), np.ones((11, 11)))
    kinds = [np.asarray(scene_lines(PAIR, rng=np.random.default_rng(seed)))[..., 0] > 0 for seed in range(30)]
    outside = [bool(lines[~near].any()) for lines in kinds]
    assert 4 <= sum(outside) <= 20  # about 40 % show the backdrop, too
    assert all(lines[near].any() for lines in kinds)
    again = np.asarray(scene_lines(PAIR, rng=np.random.default_rng(7)))[..., 0] > 0
    assert np.array_equal(again, kinds[7])
    assert len({lines.tobytes() for lines in kinds}) > 5  # pens of several widths


def test_hints_of_scenes_by_name():
    scene = draw_scene(np.random.default_rng(0))
    for kind, draw in HINTS.items():
        assert scene_hint(kind, scene, 64).tobytes() == draw(scene, 64).tobytes()
        assert scene_hint(kind, scene, 64).size == (64, 64)
    with pytest.raises(
        CourseError, match="there is no hint 'pose' of a scene; choose one of lines, boxes, depth"
    ):
        scene_hint("pose", scene)


def test_hints_as_they_are_written(tmp_path):
    assert parse_hint("canny:a.png") == AskedHint("canny", "a.png")
    assert parse_hint("canny:a.png:0.7") == AskedHint("canny", "a.png", 0.7)
    assert parse_hint("drawing:C:/x/a.png:.5:0.1-0.8") == AskedHint("drawing", "C:/x/a.png", 0.5, 0.1, 0.8)
    assert parse_hint("hint:12:30.png") == AskedHint("hint", "12:30.png")
    assert parse_hint("boxes:0.1,0.4,0.5,0.9;0.6,0,1,1:0.5").what == "0.1,0.4,0.5,0.9;0.6,0,1,1"
    Image.effect_noise((20, 20), 80).convert("RGB").save(tmp_path / "a.png")
    for kind in HINT_KINDS:
        what = "0,0,1,0.5" if kind == "boxes" else str(tmp_path / "a.png")
        assert parse_hint(f"{kind}:{what}:2").picture().mode == "RGB"


@pytest.mark.parametrize("text", ["", "canny", "canny:", ":a.png", "canny a.png"])
def test_what_is_no_hint_is_refused(text):
    with pytest.raises(CourseError, match="is no control; write KIND:FILE"):
        parse_hint(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.1,0.2,0.3", "write left,top,right,bottom"),
        ("a,b,c,d", "write left,top,right,bottom"),
        ("0.5,0,0.2,1", "its sides must rise"),
        ("0,0,1,1.5", "lie between 0 and 1"),
        ("nan,0,1,1", "its sides must rise"),
        ("0,0,1,1;", "write left,top,right,bottom"),
    ],
)
def test_boxes_that_make_no_sense_are_refused(text, told):
    with pytest.raises(CourseError, match=told):
        read_boxes(text)


def test_boxes_are_drawn_where_they_are():
    red = np.asarray(draw_boxes([(0.25, 0.5, 0.5, 1.0), (0.75, 0.0, 1.0, 0.25)], 8))[..., 0] > 0
    wanted = np.zeros((8, 8), bool)
    wanted[4:, 2:4] = wanted[:2, 6:] = True
    assert np.array_equal(red, wanted)


def test_kinds_that_are_not_known_are_named():
    with pytest.raises(CourseError, match="'pose' is not one of canny, drawing, boxes, hint"):
        parse_hint("pose:a.png")
