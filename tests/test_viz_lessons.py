"""The figures of notebooks 04, 05 and 08: what is drawn, how it is labelled, and what is refused."""

from itertools import pairwise

import matplotlib.pyplot
import numpy as np
import pytest
import torch
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.kolors.budget import Cost, unet_costs
from kolors_course.viz import anatomy, lora, sweep

RED = Image.new("RGB", (8, 8), (200, 0, 0))


def texts(figure):
    return {text.get_text() for axis in figure.axes for text in axis.texts}


def test_a_sweep_draws_each_curve_and_mark_in_its_panel():
    panels = {"facts": {"a": [1, 2, 3], "b": [3, 2, 1]}, "burnt": {"a": [0, 0, 1]}}
    figure = sweep.sweep_plot([1, 2, 4], panels, xlabel="scale", log=True, marks={"trained": 2})
    first, second = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["facts", "burnt"]
    assert [line.get_label() for line in first.lines] == ["a", "b", "trained"]
    assert list(second.lines[0].get_ydata()) == [0, 0, 1]
    assert [label.get_text() for label in first.get_xticklabels()] == ["1", "2", "4"]


def test_a_sweep_refuses_what_does_not_fit():
    with pytest.raises(CourseError, match="at least one panel"):
        sweep.sweep_plot([1], {}, xlabel="x")
    with pytest.raises(CourseError, match="facts, a: 2 values for 3 settings"):
        sweep.sweep_plot([1, 2, 3], {"facts": {"a": [1, 2]}}, xlabel="x")


def test_the_map_of_the_parts_states_the_models_own_sizes(tiny_model):
    drawn = texts(anatomy.parts_figure(tiny_model))
    assert {"tokenizer", "text encoder", "U-Net", "VAE decoder"} <= drawn
    assert {"4 x 8 x 8", "words: 256 x 96", "summary: 96", "picture\n3 x 32 x 32"} <= drawn


def test_latents_are_shown_between_picture_and_decoded():
    figure = anatomy.latents_figure(RED, torch.randn(4, 2, 2), Image.new("RGB", (8, 8), (190, 0, 0)))
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == ["picture", *(f"channel {i}" for i in range(4)), "decoded", "error, up to 3 of 255"]
    error = figure.axes[6].images[0].get_array()
    assert error.max() == pytest.approx(10 / 3)


def test_attention_maps_are_shown_on_one_scale():
    heat = torch.zeros(2, 8, 8)
    heat[0, :4], heat[1] = 0.5, 0.1
    figure = anatomy.attention_figure(RED, heat, ["fox", "a"], columns=2, room=4)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == ["picture", "fox", "a", ""]
    assert shown[3].get_ylabel() == "% of a place's attention"
    fox, article = (axis.images[1] for axis in shown[1:3])
    assert np.asarray(fox.get_array())[:, 0] == pytest.approx([50] * 4 + [0] * 4)
    assert np.asarray(article.get_array()) == pytest.approx(np.full((8, 8), 10), rel=1e-5)
    assert fox.get_clim() == article.get_clim() == (0, 50)


def test_a_figure_of_attention_keeps_its_size_where_there_is_room():
    sizes = {
        tuple(anatomy.attention_figure(RED, torch.ones(n, 2, 2), ["a"] * n, 3, room=7).get_size_inches())
        for n in (1, 4, 7)
    }
    assert len(sizes) == 1
    with pytest.raises(CourseError, match="1 attention maps for 2 words"):
        anatomy.attention_figure(RED, torch.zeros(1, 8, 8), ["fox", "tree"])
    with pytest.raises(CourseError, match="a prompt without words has no attention maps"):
        anatomy.attention_figure(RED, torch.zeros(0, 8, 8), [])


def test_similarities_are_labelled_and_must_be_square():
    figure = anatomy.similarity_figure(torch.eye(2), ["one", "two"], "alike")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one  1", "two  2"]
    with pytest.raises(CourseError, match="labels"):
        anatomy.similarity_figure(torch.eye(3), ["one", "two"], "alike")


def test_a_budget_compares_the_same_parts(tiny_model):
    costs = unet_costs(tiny_model.unet)
    weights, work = anatomy.budget_figure({"a": costs, "b": costs}).axes
    assert [label.get_text() for label in weights.get_yticklabels()] == [cost.name for cost in costs]
    assert sum(bar.get_width() for bar in work.patches) == pytest.approx(200)
    with pytest.raises(CourseError, match="same parts"):
        anatomy.budget_figure({"a": costs, "b": [Cost("other", 1, 1)]})


def test_spectra_keep_the_share_that_is_true():
    delta = torch.diag(torch.tensor([3.0, 4.0]))
    values, energy = lora.spectrum_figure({"change": delta}, mark=1).axes
    assert list(values.lines[0].get_ydata()) == pytest.approx([0.8, 0.6])
    assert list(energy.lines[0].get_ydata()) == pytest.approx([16 / 25, 1])
    assert energy.lines[1].get_label() == "rank 1"
    with pytest.raises(CourseError, match="no change"):
        lora.spectrum_figure({})


def test_directions_show_one_dot_a_layer_and_their_correlation():
    layers = {"x": (0.1, 0.1), "y": (0.2, 0.2), "z": (0.4, 0.4)}
    figure = lora.direction_figure({"full": layers, "LoRA": layers})
    assert [axis.get_title() for axis in figure.axes] == [
        "full: correlation 1.00",
        "LoRA: correlation 1.00",
    ]
    assert len(figure.axes[0].lines[0].get_xdata()) == 3
    figure.draw_without_rendering()
    labels = [
        label for axis in figure.axes for label in axis.get_xticklabels(which="both") if label.get_text()
    ]
    boxes = [label.get_window_extent() for label in labels]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    with pytest.raises(CourseError, match="no training"):
        lora.direction_figure({})


def test_figures_are_closed_so_that_a_notebook_shows_them_once(tiny_model):
    matplotlib.pyplot.close("all")
    anatomy.parts_figure(tiny_model)
    sweep.sweep_plot([1], {"a": {"b": [1]}}, xlabel="x")
    assert not matplotlib.pyplot.get_fignums()
