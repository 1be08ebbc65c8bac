"""Pictures while you type: a widget that draws beside the page."""

from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

from ipywidgets import (
    HTML,
    BoundedIntText,
    Box,
    FloatSlider,
    HBox,
    Image,
    IntProgress,
    Textarea,
    VBox,
    Widget,
)
from PIL.Image import Image as Picture
from traitlets import Enum

from kolors_course.diffusion import SamplerState
from kolors_course.errors import CourseError, enough_memory, on_one_line
from kolors_course.kolors import KolorsModel, Sampling
from kolors_course.ranges import SEEDS
from kolors_course.viz.live_drawing import LiveDrawing, PictureRequest
from kolors_course.viz.newest import NewestFirst
from kolors_course.viz.plots import picture_strip

SIDE = 256  # pixels on the page
STRONGEST_GUIDANCE, STRONGEST_LORA = 12.0, 1.5
_BARS = {"drawing": "info", "done": "success", "failed": "danger"}
_CONTROLS, _PICTURE = {"width": "320px"}, {"width": f"{SIDE + 8}px"}
_NOTE = {"min_height": "40px", "margin": "0 10px 0 90px"}  # two lines below the prompt's text


class LivePicture(HBox):
    """A picture with controls for what it is drawn from: it follows them while you type.

    A thread of its own draws, and only what was asked last: an older picture is abandoned at its next sampling step.
    First the guess of x₀ after one step is shown, then the picture. It is the picture that `generate` draws, also
    while a cell draws with the same model, and the cell's pictures are what they would be without it; what that takes
    is said at `LiveDrawing`. An error is shown in the widget. A saved notebook shows the picture of the starting
    values.

    Attributes:
        state: "drawing", "done" or "failed", of what was asked last. Set in the thread, after all else.
        prompt, seed, guidance: the controls; setting their `value` draws.
        strengths: one control for each LoRA.
        picture: `value` is the PNG.
        unknown: the words that Kolors-mini does not know.
        message: what `state` says, or the error, in HTML.
    """

    state = Enum(tuple(_BARS), "done")
    _open: ClassVar[dict[str, "LivePicture"]] = {}
    _worker: NewestFirst[PictureRequest] | None = None

    def __init__(
        self,
        model: KolorsModel,
        prompt: str,
        seed: int = 0,
        *,
        guidance: float | None = None,
        loras: Sequence[str | Path] = (),
        strength: float = 1.0,
        sampling: Sampling | None = None,
        place: str = "live picture",
    ):
        """Draw the picture of the starting values, and start the thread.

        Args:
            prompt, seed, guidance, strength: where the controls start; `guidance` is that of `sampling` if None.
                Blanks around the prompt do not count.
            sampling: how model and LoRAs want it if None.
            loras: files; each gets a control of its strength.
            place: there is one live picture in each place: a new one closes the old, so that a cell can run again.

        Raises:
            CourseError: the starting values cannot be drawn, see `LiveDrawing`.
        """
        if place in self._open:
            self._open[place].close()
        self._drawing = LiveDrawing(model, loras, sampling)
        sampling = self._drawing.sampling
        guidance = sampling.guidance_scale if guidance is None else guidance
        start = PictureRequest(prompt.strip(), seed, guidance, (strength,) * len(loras))
        picture = self._drawing.draw(start)
        self._still = _still(picture, start)
        self._make_controls(start, [Path(path).stem for path in loras])
        self._make_display(picture, sampling.steps + 1)
        self.unknown.value = escape(self._drawing.unknown_words(start))
        # Fixed widths and heights: what is written there must not move what is beside it.
        left = VBox([self.prompt, self.unknown, self.seed, self.guidance, *self.strengths], layout=_CONTROLS)
        right = VBox([self.picture, self.progress, self.message], layout=_PICTURE)
        super().__init__([left, right], layout={"flex_flow": "row wrap"})
        self._place = place
        self._open[place] = self
        self._worker = worker = NewestFirst(self._work, self._failed, done=start, name=place)
        for control in self._controls():
            control.observe(lambda change: worker.ask(self.request), "value")

    @property
    def request(self) -> PictureRequest:
        """What the controls ask for."""
        strengths = tuple(control.value for control in self.strengths)
        return PictureRequest(self.prompt.value.strip(), self.seed.value, self.guidance.value, strengths)

    def close(self) -> None:
        """End the thread and take the widget off the page."""
        if self._worker:
            self._worker.close()
            if self._open.get(self._place) is self:
                del self._open[self._place]
        _close_all(self.children)
        super().close()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**options)
        still, metadata = self._still
        return bundle | still | {"text/plain": f"LivePicture of {self.request}"}, metadata

    def _make_controls(self, start: PictureRequest, names: Sequence[str]) -> None:
        # A start beyond the ends of its slider would be moved there, and not be what is shown.
        def slider(value: float, low: float, high: float, step: float, name: str) -> FloatSlider:
            ends = {"min": min(low, value), "max": max(high, value)}
            return FloatSlider(value, **ends, step=step, description=name)

        self.prompt = Textarea(start.prompt, description="prompt", rows=3)
        self.seed = BoundedIntText(start.seed, max=SEEDS - 1, description="seed", continuous_update=True)
        self.guidance = slider(start.guidance_scale, 1.0, STRONGEST_GUIDANCE, 0.5, "guidance")
        self.strengths = tuple(
            slider(strength, 0.0, STRONGEST_LORA, 0.05, name)
            for name, strength in zip(names, start.strengths, strict=True)
        )

    def _controls(self) -> tuple[Widget, ...]:
        return (self.prompt, self.seed, self.guidance, *self.strengths)

    def _make_display(self, picture: Picture, stages: int) -> None:
        self.picture = Image(value=_png(picture), layout={"width": f"{SIDE}px"})
        self.progress = IntProgress(
            stages, max=stages, bar_style=_BARS["done"], layout={"width": f"{SIDE}px"}
        )
        self.message, self.unknown = HTML("done"), HTML(layout=_NOTE)

    def _work(self, request: PictureRequest, check: Callable[[], None]) -> None:
        """Draw and show what was asked for. Only the thread writes here, so what it wrote last is the newest."""
        self._say("drawing", "drawing …")
        self.progress.value = 0
        self.unknown.value = escape(self._drawing.unknown_words(request))

        def watch(state: SamplerState) -> None:
            check()
            self.progress.value = state.step + 1
            if state.step == 0:
                self.picture.value = _png(self._drawing.guess(state))

        with enough_memory():
            self.picture.value = _png(self._drawing.draw(request, watch))
        self._say("done", "done")

    def _failed(self, error: Exception) -> None:
        kind = "" if isinstance(error, CourseError) else f"{type(error).__name__}: "
        self._say("failed", f"{kind}{on_one_line(str(error))}")

    def _say(self, state: str, message: str) -> None:
        self.progress.bar_style = _BARS[state]
        self.message.value = escape(message)
        self.state = state


def _png(picture: Picture) -> bytes:
    file = BytesIO()
    picture.save(file, "png")
    return file.getvalue()


def _still(picture: Picture, request: PictureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """A figure of the picture with what it was drawn from, as a notebook stores it."""
    strengths = "".join(f", LoRA {strength:g}" for strength in request.strengths)
    title = f"{request.prompt} seed {request.seed}, guidance {request.guidance_scale:g}{strengths}"
    return picture_strip([picture], [title], side=SIDE / 128)._repr_mimebundle_()


def _close_all(widgets: Sequence[Widget]) -> None:
    for widget in widgets:
        if isinstance(widget, Box):
            _close_all(widget.children)
        widget.close()
