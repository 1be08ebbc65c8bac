"""The figures of the theory notebooks: what is drawn, how it is labelled, and what is refused."""

import json
import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.theory.teachers import Mixture, eight_gaussians
from kolors_course.viz.canvas import COLOURS, rows_of_panels
from kolors_course.viz.curves import curve_plot, time_plot, timeline_plot, timestep_plot
from kolors_course.viz.film import film
from kolors_course.viz.plane import Panel, plane_plot

POINTS = torch.tensor([[0.0, 1.0], [1.0, -1.0]])


def test_panels_stand_in_rows_and_the_rest_is_hidden():
    figure, axes = rows_of_panels(5, 3, 2, 2)
    assert len(axes) == 5
    assert [axis.get_visible() for axis in figure.axes] == [True] * 5 + [False]
    assert tuple(figure.get_size_inches()) == (6, 4)
    assert plt.get_fignums() == []


def test_points_are_drawn_where_they_are_in_the_colour_of_their_label():
    figure = plane_plot([Panel("data", points=POINTS, labels=torch.tensor([0, 1]))])
    (axis,) = figure.axes
    (dots,) = axis.collections
    np.testing.assert_allclose(dots.get_offsets(), POINTS)
    assert axis.get_title() == "data"
    assert dots.cmap(0) != dots.cmap(1)
    assert len(set(COLOURS)) == len(COLOURS) == 8


def test_a_density_is_shaded_the_right_way_up():
    figure = plane_plot(
        [Panel("up", log_density=lambda x: -((x - torch.tensor([1.0, 2.0])) ** 2).sum(dim=1))]
    )
    shades = np.asarray(figure.axes[0].images[0].get_array())
    row, column = np.unravel_index(shades.argmax(), shades.shape)
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert left + (right - left) * column / (shades.shape[1] - 1) == pytest.approx(1, abs=0.05)
    assert bottom + (top - bottom) * row / (shades.shape[0] - 1) == pytest.approx(2, abs=0.05)


def test_paths_run_from_a_ring_to_a_dot():
    paths = torch.stack([POINTS, POINTS + 0.5, POINTS + 1])
    lines, rings, dots = plane_plot([Panel("paths", paths=paths)]).axes[0].collections
    np.testing.assert_allclose(lines.get_segments(), paths.transpose(0, 1))
    np.testing.assert_allclose(rings.get_offsets(), POINTS)
    np.testing.assert_allclose(dots.get_offsets(), POINTS + 1)


def test_arrows_are_the_field():
    (quiver,) = plane_plot([Panel("field", arrows=lambda x: 2 * x)]).axes[0].collections
    np.testing.assert_allclose(np.stack([quiver.U, quiver.V], axis=1), 2 * quiver.XY, rtol=1e-5)


def test_arrows_are_as_long_as_the_fields_in_all_panels():
    figure = plane_plot([Panel(str(i), arrows=lambda x, i=i: i * x) for i in (0, 1, 5)])
    quivers = [axis.collections[0] for axis in figure.axes]
    assert len({quiver.scale for quiver in quivers}) == 1
    assert {quiver.scale_units for quiver in quivers} == {"xy"}


def test_a_field_of_nothing_is_drawn():
    assert plane_plot([Panel("nothing", arrows=torch.zeros_like)])._repr_mimebundle_()


def test_few_paths_have_a_colour_each_from_ring_to_dot():
    eight, many = (
        plane_plot([Panel("paths", paths=torch.randn(3, count, 2))]).axes[0].collections for count in (8, 9)
    )
    lines, rings, dots = eight
    assert len({tuple(colour[:3]) for colour in lines.get_colors()}) == 8
    for ends in (rings.get_edgecolors(), dots.get_facecolors()):
        np.testing.assert_allclose(ends[:, :3], lines.get_colors()[:, :3])
    assert len({tuple(colour) for colour in many[0].get_colors()}) == 1


def test_curves_have_names_scales_and_ticks_where_they_were_measured():
    figure = curve_plot(
        {"a": ([5, 10], [1.0, 0.1]), "b": ([5, 20], [2.0, 1.0])},
        title="errors",
        xlabel="steps",
        ylabel="error",
        log="xy",
        dots=True,
        marks={"bound": 0.5},
    )
    (axis,) = figure.axes
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b", "bound"]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["5", "10", "20"]
    assert (axis.get_title(), axis.get_xlabel(), axis.get_ylabel()) == ("errors", "steps", "error")


def test_pairs_of_curves_share_a_colour():
    curves = {name: ([0, 1], [0.0, 1.0]) for name in "abcd"}
    (axis,) = curve_plot(curves, title="", xlabel="", ylabel="", pairs=True).figure.axes
    first, second, third, fourth = ((line.get_color(), line.get_linestyle()) for line in axis.lines)
    assert (first[0], third[0]) == (second[0], fourth[0])
    assert first[0] != third[0]
    assert [line[1] for line in (first, second, third, fourth)] == ["-", "--", "-", "--"]


def test_a_timeline_puts_events_at_their_month():
    figure = timeline_plot([("2014-06", "GAN", "adversarial"), ("2020-07", "DDPM", "diffusion")], "history")
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["GAN", "DDPM"]
    spots = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert spots == pytest.approx([2014 + 5 / 12, 2020.5])
    with pytest.raises(CourseError, match='"2020" is not a month'):
        timeline_plot([("2020", "x", "y")], "history")


def test_timesteps_are_rows_of_dots():
    figure = timestep_plot({"a": torch.tensor([9.0, 5.0]), "b": torch.tensor([8.0])}, 10, "where")
    (axis,) = figure.axes
    assert [line.get_xdata().tolist() for line in axis.lines[:2]] == [[9.0, 5.0], [8.0]]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["a", "b"]


def test_paths_through_time_lie_on_their_density():
    mixture = Mixture(torch.tensor([[1.5]]), 0.2)
    paths = torch.tensor([[1.5, 1.4], [0.0, 0.1]])
    figure = time_plot(
        {"one": ([0, 10], paths)}, lambda x, t: mixture.log_density(x, 1.0, t / 10), end=10, xlabel="t"
    )
    (axis,) = figure.axes
    shades = np.asarray(axis.images[0].get_array())
    assert shades.max(axis=0) == pytest.approx(1)  # each moment by itself
    bottom, top = axis.images[0].get_extent()[2:]
    assert bottom + (top - bottom) * shades[:, 0].argmax() / (len(shades) - 1) == pytest.approx(1.5, abs=0.05)
    np.testing.assert_allclose(axis.collections[0].get_segments()[0], [[0, 1.5], [10, 0.0]])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plane_plot([]),
        lambda: curve_plot({}, title="", xlabel="", ylabel=""),
        lambda: timeline_plot([], ""),
        lambda: timestep_plot({}, 10, ""),
        lambda: time_plot({}, lambda x, t: x[:, 0], end=1, xlabel=""),
        lambda: film([]),
    ],
)
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(CourseError):
        draw()


def test_a_film_holds_its_frames_and_needs_no_network():
    mixture = eight_gaussians()
    shown = film(plane_plot([Panel(str(i), log_density=mixture.log_density)]) for i in range(3))
    html = shown._repr_html_()
    frames = json.loads(re.search(r'<script type="application/json">(.*)</script>', html)[1])
    assert len(frames) == len(shown.frames) == 3
    assert Image.open(BytesIO(b64decode(frames[0].split(",")[1]))).format == "WEBP"
    assert f'<img src="{frames[-1]}"' in html
    assert "http" not in html


def test_a_film_that_cannot_play_yet_shows_its_end_and_says_so():
    html = film(plane_plot([Panel("a", points=POINTS)]) for _ in range(2))._repr_html_()
    # What JupyterLab leaves of it in a notebook that it does not trust.
    still = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert "Run this cell, or trust the notebook" in still
    assert "<img" in still
    assert not re.search(r"<button|<input|\bon\w+=", still)
