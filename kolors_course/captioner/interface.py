"""What every captioner can do, the small one of the course and a large vision-language model alike.

captioner = load_captioner()                       # the course's own, in data/captioner
captioner = load_vlm("models/Qwen2.5-VL-3B")       # a local folder, best on a GPU
captioner.caption(pictures, "zh", "detailed")      # -> one caption for each picture, or why there is none
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True)
class NoCaption:
    """A picture that a captioner found no usable words for, and why, in one line."""

    reason: str


class Captioner(Protocol):
    """Writes captions of pictures.

    Attributes:
        name: for messages and for what is written beside captions.
        batch_size: how many pictures it likes at a time.
    """

    @property
    def name(self) -> str: ...

    @property
    def batch_size(self) -> int: ...

    def caption(
        self, pictures: Sequence[Image.Image], language: str, length: str = "sentence"
    ) -> Sequence[str | NoCaption]:
        """A caption of each picture.

        Args:
            pictures: of any size; RGB.
            language: "zh" or "en".
            length: "label" (words), "sentence" or "detailed" (with the layout).

        Raises:
            CourseError: unknown language or length.
        """
        ...
