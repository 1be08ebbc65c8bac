r"""A prompt that changes while a picture is drawn: `a [cat:dog:0.4]`, `a cat [:in the snow:0.3]`.

    switch = "[" prompt ":" prompt ":" share "]"    the first, and from that share of the steps on the second

The share is 0 to 1; either prompt may be empty, and may hold switches and weights. Step i of N, counted from 0,
reads what stands there at i/N: at a share of 0 the second alone is read, at 1 the first alone. A negative prompt is
switched on in the same way, `[:a fox:0.3]`: used too early, it can draw what it should keep away (arXiv 2406.02965).
Square brackets without two colons and a number are those of `kolors_course.prompting.weights`, as are backslashes and
full-width signs.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from kolors_course.errors import CourseError, brief
from kolors_course.prompting.weights import DEEPEST, read_weights, sign_at
from kolors_course.ranges import SHARE

MOST_STAGES = 8
_NUMBER = re.compile(r"\s*[-+]?[.．]?\d")
_SHOWN = 24

_Part: TypeAlias = "str | _Switch"


class Stage(NamedTuple):
    """What is read from a share of the steps on."""

    share: float
    prompt: str


class _Switch(NamedTuple):
    before: Sequence[_Part]
    after: Sequence[_Part]
    share: float


def read_stages(prompt: str) -> tuple[Stage, ...]:
    """What `prompt` says, one stage after the other; the first from share 0 on. Weights are left in the prompts.

    Raises:
        CourseError: a share that is none (the message names the place), or more than `MOST_STAGES`.
    """
    parts = _parts(prompt)
    shares = sorted({0.0, *(share for share in _shares(parts) if share < 1)})
    if len(shares) > MOST_STAGES:
        raise CourseError(
            f"the prompt changes {len(shares) - 1} times; at most {MOST_STAGES - 1} are allowed"
        )
    stages: list[Stage] = []
    for share in shares:
        text = _text_at(parts, share)
        if not stages or text != stages[-1].prompt:
            stages.append(Stage(share, text))
    return tuple(stages)


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse prompts with wrong switches or weights before anything is done with the first.

    Raises:
        CourseError: see `read_stages` and `read_weights`.
    """
    for prompt in prompts:
        texts_of(prompt)


def texts_of(prompt: str) -> tuple[str, ...]:
    """The texts that a prompt says, one after the other, without weights.

    Raises:
        CourseError: see `read_stages` and `read_weights`.
    """
    return tuple(read_weights(stage.prompt).text for stage in read_stages(prompt))


def _parts(text: str) -> list[_Part]:
    parts: list[_Part] = []
    start = place = 0
    while place < len(text):
        switch = _switch(text, place) if sign_at(text, place) == "[" else None
        if switch:
            parts.append(text[start:place])
            parts.append(switch[0])
            start = place = switch[1]
        else:
            place += 2 if text[place] == "\\" else 1
    return [*parts, text[start:]]


def _switch(text: str, start: int) -> tuple[_Switch, int] | None:
    """The switch whose bracket stands at `start`, and where it ends; None if these brackets are none."""
    colons: list[int] = []
    depth, place = 1, start + 1
    while place < len(text):
        sign = sign_at(text, place)
        depth += (sign in ("(", "[")) - (sign in (")", "]"))
        if not depth or depth > DEEPEST:
            break
        if sign == ":" and depth == 1:
            colons.append(place)
        place += 2 if sign == "\\" else 1
    if depth or len(colons) != 2 or not _NUMBER.match(text, colons[1] + 1):
        return None
    first, second = colons
    try:
        share = SHARE.read(unicodedata.normalize("NFKC", text[second + 1 : place]).strip())
    except CourseError as error:
        shown = brief(text[start:], _SHOWN)
        raise CourseError(f"the prompt at '{shown}': the share of the steps {error}") from None
    before, after = _parts(text[start + 1 : first]), _parts(text[first + 1 : second])
    return _Switch(before, after, share), place + 1


def _shares(parts: Sequence[_Part]) -> Iterator[float]:
    for part in parts:
        if isinstance(part, _Switch):
            yield part.share
            yield from _shares([*part.before, *part.after])


def _text_at(parts: Sequence[_Part], share: float) -> str:
    texts = []
    for part in parts:
        if isinstance(part, _Switch):
            part = _text_at(part.before if share < part.share else part.after, share)
        texts.append(part)
    return "".join(texts)
