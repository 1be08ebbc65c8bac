"""Films: figures one after another, with a play button and a slider, inside the notebook and without a network."""

import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure
from PIL import Image

from kolors_course.errors import CourseError

_DPI, _QUALITY = 72, 70  # a frame of a plane is then about 5 kB

# The frames are data, not script: where a page does not run scripts, the last frame is still there.
_PLAYER = """<div class="film">
<img src="{still}" style="max-width:100%"><br>
<button onclick="const film = this.closest('.film'), slider = film.querySelector('input');
if (film.timer) {{ clearInterval(film.timer); film.timer = null; return; }}
if (slider.value === slider.max) {{ slider.value = 0; slider.oninput(); }}
film.timer = setInterval(() => {{
  slider.stepUp(); slider.oninput();
  if (slider.value === slider.max) {{ clearInterval(film.timer); film.timer = null; }}
}}, {pause});">&#9654; / &#10074;&#10074;</button>
<input type="range" min="0" max="{last}" value="{last}" style="width:60%;vertical-align:middle" oninput="
const film = this.closest('.film');
film.frames = film.frames || JSON.parse(film.querySelector('script').textContent);
film.querySelector('img').src = film.frames[this.value];">
<script type="application/json">{frames}</script>
</div>"""


@dataclass(frozen=True)
class Film:
    """A film that a notebook shows when it is the value of a cell.

    Attributes:
        frames: WebP pictures, in order.
        seconds: how long each stays.
    """

    frames: tuple[bytes, ...]
    seconds: float

    def __repr__(self) -> str:
        return f"Film of {len(self.frames)} frames"

    def _repr_html_(self) -> str:
        addresses = ["data:image/webp;base64," + b64encode(frame).decode() for frame in self.frames]
        return _PLAYER.format(
            still=addresses[-1],
            last=len(addresses) - 1,
            pause=round(1000 * self.seconds),
            frames=json.dumps(addresses),
        )


def film(figures: Iterable[Figure], seconds: float = 0.15) -> Film:
    """A film of figures of one size.

    Args:
        figures: an iterator will do: each is drawn and forgotten before the next is asked for.
        seconds: how long each stays.

    Raises:
        CourseError: there is no figure.
    """
    frames = tuple(_drawn(figure) for figure in figures)
    if not frames:
        raise CourseError("a film needs at least one figure")
    return Film(frames, seconds)


def _drawn(figure: Figure) -> bytes:
    drawn, packed = BytesIO(), BytesIO()
    figure.savefig(drawn, dpi=_DPI)
    Image.open(drawn).convert("RGB").save(packed, "webp", quality=_QUALITY)
    return packed.getvalue()
