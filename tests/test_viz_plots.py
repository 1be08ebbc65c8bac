"""The notebooks' figures: what is drawn, how it is labelled, and what is refused."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from kolors_course.art import render
from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.viz import plots
from kolors_course.viz.canvas import LETTERS, PAGE, SHOWN_DPI, in_lines
from kolors_course.viz.world import world_scenes


def pictures(count, side=8):
    return [Image.new("RGB", (side, side), (20 * i, 0, 0)) for i in range(count)]


def test_a_strip_draws_every_picture_in_order():
    figure = plots.picture_strip(pictures(5), columns=3)
    drawn = [axis.images[0].get_array()[0, 0, 0] for axis in figure.axes if axis.images]
    assert drawn == [0, 20, 40, 60, 80]
    assert len(figure.axes) == 6


def test_titles_for_columns_stand_over_the_first_row_only():
    figure = plots.picture_strip(pictures(4), ["a", "b"], columns=2, row_labels=["x", "y"])
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "", ""]
    assert [axis.get_ylabel() for axis in figure.axes] == ["x", "", "y", ""]


def test_titles_for_pictures_stand_over_each():
    figure = plots.picture_strip(pictures(4), list("abcd"), columns=2)
    assert [axis.get_title() for axis in figure.axes] == list("abcd")


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (0, {}, "at least one"),
        (4, {"titles": ["a"], "columns": 2}, "not 1 and 0"),
        (4, {"row_labels": ["a"], "columns": 2}, "not 0 and 1"),
    ],
)
def test_a_strip_refuses_what_does_not_fit(count, options, message):
    with pytest.raises(CourseError, match=message):
        plots.picture_strip(pictures(count), **options)


def test_large_pictures_are_shrunk_and_the_callers_are_left_alone():
    (large,) = pictures(1, 1024)
    figure = plots.picture_strip([large])
    assert figure.axes[0].images[0].get_array().shape == (plots.THUMBNAIL, plots.THUMBNAIL, 3)
    assert large.size == (1024, 1024)


def test_a_picture_is_shown_about_as_large_as_the_models_draw_it():
    figure = plots.picture_strip(pictures(3, 128), ["a", "b", "c"], row_labels=["row"], side=1.0)
    figure.drawn()
    assert min(axis.get_window_extent().width for axis in figure.axes) * SHOWN_DPI / figure.dpi > 105


def test_a_row_that_is_too_long_is_made_to_fit_on_the_page():
    figure = plots.picture_strip(pictures(16), ["a"] * 8, columns=8, row_labels=["before", "after"])
    assert figure.get_figwidth() == pytest.approx(PAGE)


def saved_picture(figure) -> Image.Image:
    return Image.open(BytesIO(b64decode(figure._repr_mimebundle_()[0]["image/png"])))


def test_a_saved_strip_has_few_colours_and_those_of_large_areas_are_true():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    noise[:32] = (255, 0, 128)
    saved = saved_picture(plots.picture_strip([Image.fromarray(noise)], side=1.0))
    assert saved.mode == "P"
    found = np.asarray(saved.convert("RGB"))
    assert found[2, 2].tolist() == [255, 255, 255]
    upper, middle = found[len(found) // 4, found.shape[1] // 2].astype(int), np.array([255, 0, 128])
    assert np.abs(upper - middle).max() <= 3


def test_a_saved_strip_of_the_world_looks_like_it():
    """Six scenes with skies that change slowly; what is off by more than 8 of 255 are single pixels of edges."""
    figure = plots.picture_strip([render(scene, 128) for scene in world_scenes()[:6]], columns=3)
    off = np.abs(np.asarray(saved_picture(figure).convert("RGB"), int) - np.asarray(figure.drawn(), int))
    assert off.mean() < 1.5
    assert (off.max(axis=2) > 24).mean() < 0.01


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("a rabbit on the grass", 10, ["a rabbit", "on the", "grass"]),
        ("夜晚雪地上的一只兔子", 8, ["夜晚雪地", "上的一只", "兔子"]),
        ("太空，飞碟", 6, ["太空，", "飞碟"]),
        ("unbreakable", 4, ["unbreakable"]),
        ("two\nlines", 20, ["two\nlines"]),
        ("", 5, [""]),
    ],
)
def test_long_titles_are_broken(text, width, lines):
    assert in_lines(text, width / LETTERS) == "\n".join(lines)


def test_nothing_is_lost_in_breaking():
    text = "一幅画：夜晚的沙丘上，左边是一朵向日葵 and a ferris wheel on the right"
    assert in_lines(text, 9 / LETTERS).replace("\n", "").replace(" ", "") == text.replace(" ", "")


def test_loss_curve_shows_the_running_mean():
    losses = [(step, float(step)) for step in range(1, 31)]
    figure = plots.loss_curve(losses, window=10)
    axis = figure.axes[0]
    each, mean = axis.lines
    assert each.get_ydata().tolist() == [loss for _, loss in losses]
    assert mean.get_xdata()[0] == 10
    np.testing.assert_allclose(mean.get_ydata()[0], 5.5)  # the mean of 1..10
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("step", "loss")


def test_a_short_loss_curve_has_a_mean_too():
    figure = plots.loss_curve([(1, 3.0), (2, 1.0)], window=20)
    assert figure.axes[0].lines[1].get_ydata().tolist() == [2.0]
    with pytest.raises(CourseError, match="no loss"):
        plots.loss_curve([])


def test_schedule_plot_draws_both_curves_and_the_marks():
    schedules = {"SDXL": NoiseSchedule.sdxl(), "Kolors": NoiseSchedule.kolors()}
    figure = plots.schedule_plot(schedules, {"start": 1079})
    for axis in figure.axes:
        assert [len(line.get_ydata()) for line in axis.lines] == [1000, 1100, 2]
        assert axis.get_xlabel() == "timestep t"
        assert axis.get_ylabel()
        assert axis.get_title()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "SDXL",
        "Kolors",
        "start",
    ]
    assert figure.axes[1].get_yscale() == "log"
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata()[0], (1 - 0.00085) ** 0.5, rtol=1e-6)


def test_figures_are_closed_so_that_a_notebook_shows_them_once():
    plots.loss_curve([(1, 1.0)])
    plots.picture_strip(pictures(1))
    assert pyplot.get_fignums() == []
