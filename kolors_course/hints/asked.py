"""A hint as the command line writes it: `canny:a.png:0.7`, `boxes:0.1,0.4,0.5,0.9`, `drawing:mine.png:1:0-0.8`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError, brief
from kolors_course.hints.boxes import read_boxes
from kolors_course.hints.choices import HINT_KINDS
from kolors_course.hints.edges import canny, drawing

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_ASKED = re.compile(
    rf"(?P<kind>\w+):(?P<what>.+?)(?::(?P<scale>{_NUMBER})(?::(?P<start>{_NUMBER})-(?P<end>{_NUMBER}))?)?"
)
FORM = "KIND:FILE[:SCALE[:START-END]], as in canny:picture.png:0.7 or boxes:0.1,0.4,0.5,0.9"
OF_PICTURES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "canny": canny,
    "drawing": drawing,
    "hint": lambda picture: picture,
}


@dataclass(frozen=True)
class AskedHint:
    """What is shown to a ControlNet, and how much it counts; see `kolors_course.kolors.Control` for the numbers.

    Attributes:
        kind: one of `HINT_KINDS`.
        what: a picture's file, or the corners of boxes.
    """

    kind: str
    what: str
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def picture(self) -> Image.Image:
        """The hint.

        Raises:
            CourseError: the file cannot be read, or the boxes make no sense.
        """
        if self.kind == "boxes":
            return read_boxes(self.what)
        return OF_PICTURES[self.kind](open_picture(Path(self.what)))


def parse_hint(text: str) -> AskedHint:
    """A hint from `text`; see `FORM`.

    Raises:
        CourseError: it is of another form, or there is no such kind.
    """
    found = _ASKED.fullmatch(text)
    if not found:
        raise CourseError(f"{brief(text)} is no control; write {FORM}")
    kind, what, *numbers = found.groups()
    if kind not in HINT_KINDS:
        raise CourseError(f"control {brief(text)}: {kind!r} is not one of {', '.join(HINT_KINDS)}")
    given = (float(number) for number in numbers if number is not None)
    return AskedHint(kind, what, *given)
