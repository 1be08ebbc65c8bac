"""Prompts that are drawn while training, each with its own seed, negative prompt and guidance."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kolors_course.dataset.text import check_text
from kolors_course.errors import CourseError, brief
from kolors_course.prompting import read_weights
from kolors_course.ranges import SEED, Range

GUIDANCE = Range(0, 100)
SYNTAX = "a red cat --seed 3 --negative blurry, dark --guidance 4"
_OPTION = re.compile(r"(?:^|\s)--(\w[\w-]*)(?=[\s=]|$)=?")


@dataclass(frozen=True)
class SamplePrompt:
    """A prompt of which a picture is drawn now and then while a LoRA learns.

    Attributes:
        seed: None for its place among the prompts, counted from 0.
        negative: what the picture is led away from.
        guidance: None for the scale of the model.

    Raises:
        CourseError: the prompt is empty, its weights or those of the negative are wrong, or a number is out of range.
    """

    prompt: str
    seed: int | None = None
    negative: str = ""
    guidance: float | None = None

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise CourseError(f"a sample prompt is empty; write for example: {SYNTAX}")
        for text in (self.prompt, self.negative):
            read_weights(text)
        if self.seed is not None:
            SEED.check("the seed of a sample prompt", self.seed)
        if self.guidance is not None:
            GUIDANCE.check("the guidance of a sample prompt", self.guidance)

    def __str__(self) -> str:
        options = {name: value for name, value in self.to_dict().items() if name != "prompt"}
        return self.prompt + "".join(f" --{name} {value}" for name, value in options.items())

    def to_dict(self) -> dict[str, Any]:
        """The prompt by name, and each option that was given."""
        return {name: value for name, value in vars(self).items() if value not in (None, "")}


def parse_sample_prompt(text: str) -> SamplePrompt:
    """Read "TEXT --seed N --negative TEXT --guidance G"; each option may be left out.

    Raises:
        CourseError: an unknown option, one without a value or given twice, or see `SamplePrompt`.
    """
    check_text("sample prompt", text)
    prompt, *rest = _OPTION.split(text)
    names, values = rest[::2], [value.strip() for value in rest[1::2]]
    for i, name in enumerate(names):
        if name in ("prompt", *names[:i]) or not values[i]:
            fault = "has no value" if not values[i] else "is given twice"
            raise CourseError(
                f"sample prompt {brief(text, 24)!r}: --{name} {fault}; write for example: {SYNTAX}"
            )
    return sample_prompt_of({"prompt": prompt.strip(), **dict(zip(names, values, strict=True))})


def sample_prompt_of(values: Mapping[str, str]) -> SamplePrompt:
    """A sample prompt from texts by name: prompt, seed, negative, guidance.

    Raises:
        CourseError: see `parse_sample_prompt`.
    """
    where = f"sample prompt {brief(values.get('prompt', ''), 24)!r}"
    for name in values:
        if name not in _READERS:
            near = difflib.get_close_matches(name, _READERS, 1)
            hint = f"did you mean {near[0]}?" if near else f"write for example: {SYNTAX}"
            raise CourseError(f"{where}: there is no {brief(name, 24)}; {hint}")
    read = {}
    for name, value in values.items():
        try:
            read[name] = _READERS[name](value)
        except (TypeError, ValueError) as error:
            raise CourseError(f"{where}: {name} is no number: {brief(value, 24)}") from error
    return SamplePrompt(**{"prompt": "", **read})


_READERS = {"prompt": str, "seed": int, "negative": str, "guidance": float}
