"""Controls over a figure: like ipywidgets' `interact`, but it shows that it works, and leaves a picture of itself."""

from collections.abc import Callable
from typing import Any

from IPython.display import display
from ipywidgets import HTML, DOMWidget, interactive

from kolors_course.viz.canvas import NotebookFigure

BUSY = "drawing … 正在绘制 …"


class Explorer(interactive):
    """A figure that is drawn anew whenever a control changes.

    While it is drawn the controls rest and a line says so; the old figure stays until the new one is there. A saved
    notebook shows the figure of the last values.

    Attributes:
        result: what `draw` last returned.
    """

    def __init__(self, draw: Callable[..., NotebookFigure], **controls: Any):
        self.note = HTML(layout={"height": "28px"})
        super().__init__(draw, {"auto_display": True}, **controls)
        shown = (widget for widget in self.kwargs_widgets if isinstance(widget, DOMWidget))
        self.children = [*shown, self.note, self.out]

    def update(self, *args: Any) -> None:
        """Draw what the controls say."""
        self._rest(True)
        try:
            super().update(*args)
        finally:
            self._rest(False)

    def _rest(self, busy: bool) -> None:
        self.note.value = BUSY if busy else ""
        for control in self.kwargs_widgets:
            if control.has_trait("disabled"):
                control.disabled = busy

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**options)
        if not isinstance(self.result, NotebookFigure):
            return bundle, {}
        still, metadata = self.result._repr_mimebundle_()
        return bundle | {"image/png": still["image/png"]}, metadata


def explore(**controls: Any) -> Callable[[Callable[..., NotebookFigure]], Callable[..., NotebookFigure]]:
    """A decorator: show the function that draws a figure as an `Explorer`, with a control for each argument."""

    def show(draw: Callable[..., NotebookFigure]) -> Callable[..., NotebookFigure]:
        display(Explorer(draw, **controls))
        return draw

    return show
