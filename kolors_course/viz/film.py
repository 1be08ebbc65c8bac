"""Films: figures one after another, with a play button and a slider, inside the notebook and without a network."""

import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

from kolors_course.errors import CourseError
from kolors_course.viz.canvas import SHOWN_DPI, NotebookFigure

_QUALITY = 70  # a frame of a plane is then about 10 kB

# The frames are data, not script. Where a page does not run scripts, as for a notebook that JupyterLab does not trust
# yet, the last frame and a note are what there is; the script puts the controls in the note's place.
_PLAYER = """<div class="film">
<img src="{still}" width="{width}" style="max-width:100%"><br>
<span class="film-note">&#9654; A film of {count} pictures. Run this cell, or trust the notebook, to play it.
运行此单元，或信任本笔记本，即可播放。</span>
<script type="application/json">{frames}</script>
<script>for (const film of document.querySelectorAll(".film")) {{
  const note = film.querySelector(".film-note");
  if (!note) continue;
  const [image, button, slider] = [film.querySelector("img"), ...["button", "input"].map(
    (name) => document.createElement(name))];
  const frames = JSON.parse(film.querySelector("script").textContent);
  let timer = null;
  const show = () => {{ image.src = frames[slider.value]; }};
  const stop = () => {{ clearInterval(timer); timer = null; }};
  button.textContent = "\u25b6 / \u275a\u275a";
  Object.assign(slider, {{type: "range", min: 0, max: frames.length - 1, value: frames.length - 1, oninput: show}});
  slider.style = "width:60%;vertical-align:middle";
  button.onclick = () => {{
    if (timer) return stop();
    if (slider.value === slider.max) slider.value = 0;
    show();
    timer = setInterval(() => {{
      slider.stepUp();
      show();
      if (slider.value === slider.max) stop();
    }}, {pause});
  }};
  note.replaceWith(button, slider);
}}</script>
</div>"""


@dataclass(frozen=True)
class Film:
    """A film that a notebook shows when it is the value of a cell.

    Attributes:
        frames: WebP pictures, in order.
        seconds: how long each stays.
        width: in pixels, as it is shown.
    """

    frames: tuple[bytes, ...]
    seconds: float
    width: int

    def __repr__(self) -> str:
        return f"Film of {len(self.frames)} frames"

    def _repr_html_(self) -> str:
        addresses = ["data:image/webp;base64," + b64encode(frame).decode() for frame in self.frames]
        return _PLAYER.format(
            still=addresses[-1],
            width=self.width,
            count=len(addresses),
            pause=round(1000 * self.seconds),
            frames=json.dumps(addresses),
        )


def film(figures: Iterable[NotebookFigure], seconds: float = 0.15) -> Film:
    """A film of figures of one size.

    Args:
        figures: an iterator will do: each is drawn and forgotten before the next is asked for.
        seconds: how long each stays.

    Raises:
        CourseError: there is no figure.
    """
    frames, width = [], 0
    for figure in figures:
        width = round(SHOWN_DPI * figure.get_figwidth())
        frames.append(_packed(figure))
    if not frames:
        raise CourseError("a film needs at least one figure")
    return Film(tuple(frames), seconds, width)


def _packed(figure: NotebookFigure) -> bytes:
    """As large as it is shown: finer frames would be many bytes."""
    figure.set_dpi(SHOWN_DPI)
    packed = BytesIO()
    figure.drawn().save(packed, "webp", quality=_QUALITY)
    return packed.getvalue()
