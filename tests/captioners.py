"""Captioners for tests: a tiny network, and one that says what it is told to."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image

from kolors_course.captioner import NoCaption, SmallCaptioner
from kolors_course.captioner.network import CaptionerShape, build_captioner
from kolors_course.captioner.tasks import CaptionWords, caption_words
from kolors_course.platform.paths import data_dir

TINY = CaptionerShape(stem=8, widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), width=32, layers=1, heads=2)


def mini_words() -> CaptionWords:
    return caption_words(data_dir() / "kolors-mini" / "tokenizer")


def tiny_captioner(seed: int = 0) -> SmallCaptioner:
    """Untrained: what it says is nothing, but always the same."""
    words = mini_words()
    torch.manual_seed(seed)
    return SmallCaptioner(build_captioner(words, TINY).eval(), words, batch_size=3)


@dataclass
class Teller:
    """A captioner that names the mean colour of a picture, and remembers how many it saw.

    Attributes:
        fails: refuses pictures from this one on, counted from 0.
        stops: presses Ctrl-C instead.
    """

    name: str = "teller"
    batch_size: int = 2
    fails: int | None = None
    stops: bool = False
    seen: list[tuple[str, str]] = field(default_factory=list)

    def caption(
        self, pictures: Sequence[Image.Image], language: str, length: str = "sentence"
    ) -> list[str | NoCaption]:
        answers: list[str | NoCaption] = []
        for picture in pictures:
            if self.fails is not None and len(self.seen) >= self.fails:
                if self.stops:
                    raise KeyboardInterrupt
                answers.append(NoCaption("it will not say"))
                continue
            self.seen.append((language, length))
            colour = picture.resize((1, 1)).getpixel((0, 0))
            answers.append(f"a picture, {colour}" if language == "en" else f"一幅画，{colour}")
        return answers
