"""Figures can be read: sizes, overlaps and cut-offs are found where they are, and no figure of the course has any."""

import io
from base64 import b64decode

import matplotlib
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from kolors_course.art import caption, render
from kolors_course.comfyui.graph import read_workflow
from kolors_course.comfyui.server import NODES
from kolors_course.diffusion import NoiseSchedule
from kolors_course.kolors.budget import unet_costs
from kolors_course.platform.fonts import use_cjk_font
from kolors_course.viz import anatomy, curves, lora, plane, plots, sweep, workflow
from kolors_course.viz.canvas import PAGE, RED, SHADES, SHOWN_DPI, NotebookFigure
from kolors_course.viz.world import world_scenes

WORKFLOWS = sorted((NODES / "example_workflows" / "api").glob("*.json"))
POINTS = torch.linspace(-1, 1, 40).reshape(20, 2)
CURVES = {
    name: (range(1, 6), [0.1, 0.2, 0.1, 0.3, 0.2]) for name in ("two layers, 64 wide", "DPM-Solver++ 2M")
}
PANELS = {"facts that are followed": {"with CFG": [1, 2, 3]}, "burnt pixels": {"with CFG": [3, 2, 1]}}
LAYERS = {str(i): (0.01 * 1.3**i, 0.02 * 1.2**i) for i in range(10)}
LABELS = ["a fox in the forest at night", "夜晚森林里的一只狐狸", "an owl on a mountain at dusk"]


@pytest.fixture(autouse=True)
def as_in_the_notebooks():
    with matplotlib.rc_context():
        use_cjk_font()
        yield


def figure(width=4.0, **options):
    return NotebookFigure(figsize=(width, 2), **options)


def faults(drawn):
    return drawn._repr_mimebundle_()[1].get("faults", [])


@pytest.mark.parametrize(
    ("size", "width", "shown"), [(8, 4, "8.0"), (9, 4, None), (12, 2 * PAGE, "6.0"), (18, 2 * PAGE, None)]
)
def test_small_type_is_found_at_the_width_at_which_it_is_shown(size, width, shown):
    small = figure(width)
    small.text(0.5, 0.5, "word", fontsize=size)
    assert faults(small) == ([f'"word" is shown at {shown} pt; 9 can be read'] if shown else [])


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize(
    ("x", "y", "anchor", "cut"),
    [
        (0.5, 0.5, "center", False),
        (0.0, 0.5, "center", True),
        (0.5, 0.0, "center", True),
        (0.999, 0.5, "left", True),
    ],
)
def test_text_that_leaves_the_figure_is_found(x, y, anchor, cut, rotation):
    out = figure()
    out.text(x, y, "a long word", fontsize=10, rotation=rotation, ha=anchor, va="center")
    assert (faults(out) == ['"a long word" is cut off']) is cut


@pytest.mark.parametrize(("apart", "found"), [(0.02, True), (0.5, False)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_texts_upon_one_another_are_found(apart, found, rotation):
    crowded = figure()
    at = (lambda i: (0.2, 0.2 + i * apart)) if rotation == 0 else (lambda i: (0.2 + i * apart, 0.2))
    for i, word in enumerate(("one", "other")):
        crowded.text(*at(i), word, fontsize=12, rotation=rotation)
    assert bool(faults(crowded)) is found


@pytest.mark.parametrize("title", ["short", "a title far longer than its panel"])
def test_a_legend_upon_a_title_is_found(title):
    drawn = figure(2)
    axis = drawn.add_axes((0.2, 0.2, 0.3, 0.6))
    axis.plot([0, 1], label="two\nlines")
    axis.set_title(title, fontsize=10)
    drawn.legend(loc="upper right", fontsize=9)
    found = [fault for fault in faults(drawn) if fault.endswith(f'lies upon "{title}"')]
    assert bool(found) is (title != "short")


@pytest.mark.parametrize("outside", [True, False])
def test_a_legend_upon_its_curves_is_found(outside):
    drawn = figure(layout="constrained")
    axis = drawn.subplots()
    axis.plot([0, 1], label="curve")
    axis.legend(fontsize=9, **({"loc": "center left", "bbox_to_anchor": (1, 0.5)} if outside else {}))
    expected = [] if outside else ['the legend "curve" lies upon curves']
    assert [fault for fault in faults(drawn) if "legend" in fault] == expected


def test_it_is_shown_at_its_size_and_saved_finer_the_same_each_time():
    saved = []
    for _ in range(2):
        drawn = figure(3)
        drawn.text(0.5, 0.5, "word", fontsize=10)
        data, metadata = drawn._repr_mimebundle_()
        saved.append(data["image/png"])
    assert metadata == {"image/png": {"width": 3 * SHOWN_DPI, "height": 2 * SHOWN_DPI, "unconfined": True}}
    assert saved[0] == saved[1]
    picture = Image.open(io.BytesIO(b64decode(saved[0])))
    assert picture.size == (1.5 * 3 * SHOWN_DPI, 1.5 * 2 * SHOWN_DPI)
    assert np.asarray(picture.convert("L")).min() < 100


def test_no_other_printer_of_figures_takes_its_place(monkeypatch):
    formatter, shown = DisplayFormatter(), []
    formatter.formatters["image/png"].for_type(
        Figure, lambda figure: b"of matplotlib"
    )  # as its inline backend does
    monkeypatch.setattr("IPython.display.display", lambda data, **options: shown.append((data, options)))
    drawn = figure(3)
    assert formatter.format(drawn) == ({}, {})  # it has shown itself
    data, metadata = drawn._repr_mimebundle_()
    assert shown == [(data, {"metadata": metadata, "raw": True})]


def test_a_single_red_dot_stays_red():
    drawn = figure(3)
    axis = drawn.subplots()
    axis.imshow(np.add.outer(np.arange(90), np.arange(90)), cmap=SHADES)
    axis.scatter(45, 45, s=9, color=RED, linewidths=0)
    data, _ = drawn._repr_mimebundle_()
    saved = Image.open(io.BytesIO(b64decode(data["image/png"])))
    found = np.asarray(saved.convert("RGB")).astype(int)
    assert np.abs(found - [0xC8, 0x14, 0x20]).max(axis=2).min() < 12


def scenes(count):
    return world_scenes()[:count]


def strip(count, language, **options):
    return plots.picture_strip(
        [render(s, 32) for s in scenes(count)], [caption(s, language) for s in scenes(count)], **options
    )


@pytest.mark.parametrize(
    "draw",
    [
        lambda: strip(6, "en"),
        lambda: strip(6, "zh", side=1.0),
        lambda: strip(6, "en", columns=3, row_labels=["before", "fully tuned"]),
        lambda: strip(8, "en", side=1.1),
        lambda: strip(1, "zh", side=2),
        lambda: plots.schedule_plot({"SDXL, Stable Diffusion": NoiseSchedule.sdxl()}, {"start": 900}),
        lambda: plots.loss_curve([(i, 1 / i) for i in range(1, 60)]),
        lambda: plane.plane_plot(
            [plane.Panel(f"hasty GAN, round {4000 + i}", points=POINTS) for i in range(5)]
        ),
        lambda: plane.plane_plot([plane.Panel("data", points=POINTS)] * 2, side=2.8),
        lambda: curves.curve_plot(
            CURVES, title="Errors", xlabel="steps", ylabel="error", log="xy", dots=True
        ),
        lambda: curves.timestep_plot({"leading, as in SDXL": torch.arange(9.0)}, 10, "Where samplers ask"),
        lambda: sweep.sweep_plot([1, 2, 4], PANELS, xlabel="scale", log=True, marks={"trained": 2}),
        lambda: sweep.sweep_plot([1, 2], {"How sure the probe is of it": {"mean of 8": [1, 2]}}, xlabel="s"),
        lambda: sweep.sweep_plot([1, 2], {"a": {"b": [1, 2]}, "c": {"d": [1, 2]}}, xlabel="scale"),
        lambda: lora.spectrum_figure({"down_blocks.0.attn": torch.diag(torch.arange(1.0, 9))}, mark=4),
        lambda: lora.direction_figure({"fully tuned": LAYERS, "LoRA": LAYERS, "DoRA": LAYERS}),
        lambda: anatomy.latents_figure(
            render(scenes(1)[0], 32), torch.zeros(4, 4, 4), render(scenes(1)[0], 32)
        ),
        lambda: anatomy.attention_figure(render(scenes(1)[0], 32), torch.rand(2, 4, 4), ["a", "hedgehog"], 6),
        lambda: anatomy.similarity_figure(torch.eye(3), LABELS, "alike"),
    ],
)
def test_every_figure_can_be_read(draw):
    assert faults(draw()) == []


def test_figures_of_a_model_can_be_read(tiny_model):
    costs = unet_costs(tiny_model.unet)
    assert faults(anatomy.parts_figure(tiny_model)) == []
    assert faults(anatomy.budget_figure({"Kolors-mini": costs, "Kolors": costs})) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_can_be_read_and_their_texts_stay_in_their_boxes(path):
    drawn = workflow.workflow_plot(read_workflow(path))
    assert faults(drawn) == []
    (axis,) = drawn.axes
    boxes = [patch.get_window_extent() for patch in axis.patches if isinstance(patch, FancyBboxPatch)]
    texts = [text.get_window_extent() for text in axis.texts]
    for box, text in zip(boxes, texts, strict=True):
        assert box.x0 <= text.x0 < text.x1 <= box.x1
        assert box.y0 <= text.y0 < text.y1 <= box.y1
