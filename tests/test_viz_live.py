"""Pictures while you type, set through their controls as a browser sets them."""

import base64
import subprocess
import sys
import threading
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate, load_model
from kolors_course.lora import load_lora
from kolors_course.viz import LivePicture
from kolors_course.viz.live_drawing import LiveDrawing

SOON = 60  # seconds; only a test that fails waits so long
QUICK = Sampling(steps=3, guidance_scale=2.0)
FOX, OWL = "a fox at night", "an owl on the beach"


@pytest.fixture
def live(tiny_model):
    before = threading.enumerate()
    live = LivePicture(replace(tiny_model, sampling=QUICK), FOX, 7)
    yield live
    live.close()
    assert set(threading.enumerate()) <= set(before)


class Settled:
    """Inside, something is asked for; leaving waits until it is drawn or has failed."""

    def __init__(self, live):
        self.live, self.settled = live, threading.Event()

    def look(self, change):
        if change["new"] != "drawing":
            self.settled.set()

    def __enter__(self):
        self.live.observe(self.look, "state")

    def __exit__(self, *error):
        assert self.settled.wait(SOON)
        self.live.unobserve(self.look, "state")


def pixels(png):
    return np.asarray(Image.open(BytesIO(png)))


def drawn(model, prompt, seed=7, sampling=QUICK):
    return np.asarray(generate(model, [prompt], [seed], sampling)[0])


def test_it_starts_with_the_picture_of_its_values(live, tiny_model):
    assert (pixels(live.picture.value) == drawn(tiny_model, FOX)).all()
    assert (live.state, live.progress.bar_style, live.message.value) == ("done", "success", "done")
    assert (live.guidance.value, live.strengths) == (2.0, ())


def test_each_control_draws_what_generate_draws(live, tiny_model):
    with Settled(live):
        live.prompt.value = OWL
    assert (pixels(live.picture.value) == drawn(tiny_model, OWL)).all()
    with Settled(live):
        live.seed.value = 8
    assert (pixels(live.picture.value) == drawn(tiny_model, OWL, 8)).all()
    with Settled(live):
        live.guidance.value = 6.0
    strong = Sampling(steps=3, guidance_scale=6.0)
    assert (pixels(live.picture.value) == drawn(tiny_model, OWL, 8, strong)).all()


def test_it_shows_the_first_guess_and_how_far_it_is(live):
    shown, steps, states = [], [], []
    live.picture.observe(lambda change: shown.append(change["new"]), "value")
    live.progress.observe(lambda change: steps.append(change["new"]), "value")
    live.observe(lambda change: states.append(change["new"]), "state")
    with Settled(live):
        live.prompt.value = OWL
    assert len(shown) == 2
    assert not (pixels(shown[0]) == pixels(shown[1])).all()
    assert steps == [0, 1, 2, 3, 4]
    assert states == ["drawing", "done"]


def test_blanks_and_the_same_again_are_no_work(live):
    states = []
    live.observe(lambda change: states.append(change["new"]), "state")
    live.prompt.value = f" {FOX}\n"
    with Settled(live):
        live.prompt.value = OWL
    assert states == ["drawing", "done"]


def test_an_outdated_picture_is_abandoned(live, tiny_model):
    """The newer prompt comes with the first guess of the older one, which then stops before its second step."""
    steps = []
    live.progress.observe(lambda change: steps.append(change["new"]), "value")

    def retype(change):
        live.picture.unobserve_all("value")
        live.prompt.value = OWL

    live.picture.observe(retype, "value")
    with Settled(live):
        live.prompt.value = "a dog"
    assert steps == [0, 1, 0, 1, 2, 3, 4]
    assert (pixels(live.picture.value) == drawn(tiny_model, OWL)).all()


def test_an_error_is_one_line_and_the_next_picture_is_drawn(live, tiny_model, monkeypatch):
    before = live.picture.value
    with Settled(live):
        live.prompt.value = "half a character: \ud800"
    assert live.state == "failed"
    assert live.progress.bar_style == "danger"
    assert live.message.value.startswith("the prompt is not UTF-8")
    assert "\n" not in live.message.value
    assert live.picture.value == before
    with monkeypatch.context() as patch, Settled(live):
        patch.setattr(
            LiveDrawing, "draw", refuse(RuntimeError("CUDA out of memory. Tried to allocate 9 GiB\n"))
        )
        live.prompt.value = "a dog"
    assert live.message.value.startswith("the GPU&#x27;s memory is not enough (it wanted 9 GiB more)")
    with monkeypatch.context() as patch, Settled(live):
        patch.setattr(LiveDrawing, "draw", refuse(ZeroDivisionError("<b>\n")))
        live.prompt.value = "a cat"
    assert live.message.value == "ZeroDivisionError: &lt;b&gt;\\n"
    with Settled(live):
        live.prompt.value = OWL
    assert live.state == "done"
    assert (pixels(live.picture.value) == drawn(tiny_model, OWL)).all()


def refuse(error):
    def draw(*arguments):
        raise error

    return draw


def test_words_that_the_model_never_read_are_named(live):
    assert live.unknown.value == ""
    with Settled(live):
        live.prompt.value = "a quasar at night"
    assert "quasar" in live.unknown.value
    with Settled(live):
        live.prompt.value = OWL
    assert live.unknown.value == ""


def test_a_lora_follows_its_strength_and_at_none_it_is_the_base(tiny_folder, tiny_model, lora_file):
    styled = load_model(tiny_folder)
    load_lora(styled.unet, lora_file, 0.5)
    live = LivePicture(tiny_model, FOX, 7, loras=[lora_file], strength=0.0, sampling=QUICK)
    (strength,) = live.strengths
    base = drawn(tiny_model, FOX)
    assert strength.description == "ink"
    assert (pixels(live.picture.value) == base).all()
    with Settled(live):
        strength.value = 0.5
    half = pixels(live.picture.value)
    assert (half == drawn(styled, FOX)).all()
    assert not (half == base).all()
    assert (drawn(tiny_model, FOX) == base).all()
    with Settled(live):
        strength.value = 0.0
    assert (pixels(live.picture.value) == base).all()
    live.close()


@pytest.mark.parametrize("part", ["text_encoder", "unet"])
def test_pictures_of_the_page_and_of_the_widget_are_right_when_drawn_at_once(tiny_folder, lora_file, part):
    """Page and widget meet inside the same network; the page then draws to its end first."""
    model = load_model(tiny_folder)
    fox, styled = drawn(model, FOX), load_model(tiny_folder)
    load_lora(styled.unet, lora_file)
    live = LivePicture(model, FOX, 7, loras=[lora_file], sampling=QUICK)
    met, inside, page_is_done = set(), threading.Barrier(2), threading.Event()

    def meet(module, arguments):
        on_page, first = threading.current_thread() is threading.main_thread(), not met
        if threading.get_ident() in met:
            return
        met.add(threading.get_ident())
        assert on_page == first  # the page is inside before the widget, and out of it before, too
        if on_page:
            live.prompt.value = OWL
        inside.wait(SOON)
        assert on_page or page_is_done.wait(SOON)

    for network in (getattr(model, part), getattr(live._drawing._styled, part)):
        network.register_forward_pre_hook(meet)
    with Settled(live):
        assert (drawn(model, FOX) == fox).all()
        load_lora(model.unet, lora_file, -1.0)
        page_is_done.set()
    assert (pixels(live.picture.value) == drawn(styled, OWL)).all()
    live.close()


def test_a_start_beyond_the_sliders_is_kept(tiny_model, lora_file):
    far = {"seed": 2**32 - 1, "guidance": 30.0, "strength": -2.0}
    live = LivePicture(tiny_model, FOX, loras=[lora_file], sampling=QUICK, **far)
    (strength,) = live.strengths
    assert (live.seed.value, live.guidance.value, strength.value) == tuple(far.values())
    live.close()


def test_the_same_place_again_closes_the_one_before(tiny_model):
    before = threading.enumerate()
    first = LivePicture(tiny_model, FOX, sampling=QUICK)
    other = LivePicture(tiny_model, FOX, sampling=QUICK, place="other")
    second = LivePicture(tiny_model, FOX, sampling=QUICK)
    assert first.comm is None
    assert first.prompt.comm is None
    assert len(set(threading.enumerate()) - set(before)) == 2
    first.close()
    second.prompt.value = OWL  # closed in the middle of its work
    for live in (second, other):
        live.close()
    assert set(threading.enumerate()) <= set(before)


def test_a_saved_notebook_shows_the_picture_of_the_starting_values(tiny_model):
    stills = []
    for _ in range(2):
        live = LivePicture(tiny_model, FOX, 7, sampling=QUICK)
        with Settled(live):
            live.prompt.value = OWL
        stills.append(live._repr_mimebundle_())
        live.close()
    one, two = (base64.b64decode(still["image/png"]) for still, _ in stills)
    assert one == two
    assert Image.open(BytesIO(one)).width > 200
    assert "application/vnd.jupyter.widget-view+json" in stills[0][0]


@pytest.mark.parametrize("values", [{"seed": -1}, {"loras": ["missing.safetensors"]}, {"prompt": "\ud800"}])
def test_starting_values_that_cannot_be_drawn_are_refused(tiny_model, values):
    before = threading.enumerate()
    with pytest.raises(CourseError):
        LivePicture(tiny_model, **{"prompt": FOX, "sampling": QUICK, **values})
    assert set(threading.enumerate()) <= set(before)


def test_python_ends_while_it_draws(tiny_folder):
    program = f"""
from kolors_course.kolors import Sampling, load_model
from kolors_course.viz import LivePicture
live = LivePicture(load_model({str(tiny_folder)!r}), "a fox", sampling=Sampling(steps=40))
live.prompt.value = "a dog"
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SOON)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "Traceback" not in ended.stderr
