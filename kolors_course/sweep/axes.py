"""Axes of a sweep: which setting changes, and the values it takes. Nothing heavy is imported."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from kolors_course.dataset.text import check_text
from kolors_course.diffusion.choices import SAMPLERS, SPACINGS, STOCHASTIC_SAMPLERS
from kolors_course.errors import CourseError, brief
from kolors_course.ranges import GUIDANCE, SEED, SHARE, STEPS, Range

MOST_VALUES = 64
NO_LORA = "none"
_RANGE = re.compile(r"(?P<first>.+?)\.\.(?P<last>[^:]+)(?::(?P<step>.+))?")


@dataclass(frozen=True)
class AxisKind:
    """What the values of an axis are: numbers of a range, names of a list, or texts where both are None."""

    zh: str
    numbers: Range | None = None
    names: tuple[str, ...] | None = None


AXES = {
    "steps": AxisKind("步数", STEPS),
    "guidance": AxisKind("引导", GUIDANCE),
    "sampler": AxisKind("采样器", names=(*SAMPLERS, *STOCHASTIC_SAMPLERS)),
    "spacing": AxisKind("间距", names=SPACINGS),
    "seed": AxisKind("种子", SEED),
    "denoise": AxisKind("重绘", SHARE),
    "lora": AxisKind("LoRA"),
    "strength": AxisKind("强度", Range(-1000, 1000)),
    "word": AxisKind("词"),
}


@dataclass(frozen=True)
class Axis:
    """A setting, one of `AXES`, and its values: numbers, names, or texts.

    Of `word` the first value is what is looked for in the prompt, and the first to be drawn.
    """

    name: str
    values: tuple[float | str, ...]

    @property
    def title(self) -> str:
        """The name in both languages."""
        zh = AXES[self.name].zh
        return self.name if zh.lower() == self.name else f"{self.name} {zh}"

    @property
    def heading(self) -> str:
        """The name for a table; several words of one prompt are told apart by what they replace."""
        return f"{self.name} {self.values[0]}" if self.name == "word" else self.name

    def label(self, value: float | str) -> str:
        """A value as a sheet and a table show it: of a LoRA, its file's name without folder and ending."""
        if self.name == "lora":
            return re.sub(r"\.safetensors(?=:|$)", "", re.split(r"[/\\]", str(value))[-1])
        return f"{value:g}" if isinstance(value, float) else str(value)


def parse_axis(text: str) -> Axis:
    """Read NAME=VALUE,VALUE,... as the flags of `kolors-course sweep` have it.

    A number may be a range, FIRST..LAST or FIRST..LAST:STEP, whose last is taken too if the steps meet it. A value
    with a comma stands in double quotes.

    Raises:
        CourseError: no such axis, a value that it cannot have, one that stands twice, or too many.
    """
    name, equals, rest = text.partition("=")
    name = name.strip()
    if name not in AXES:
        raise CourseError(f"there is no axis '{brief(name, 24)}'; choose one of {', '.join(AXES)}")
    if not equals or not rest.strip():
        raise CourseError(f"{name} needs values; write {name}=VALUE,VALUE")
    values: list[float | str] = []
    for word in _split(name, rest):
        for value in _values(name, AXES[name], word):
            if value in values:
                raise CourseError(f"{name}: {brief(value, 40)} stands twice")
            if len(values) == MOST_VALUES:
                raise CourseError(f"{name}: more than {MOST_VALUES} values; give fewer, or a larger step")
            values.append(value)
    return Axis(name, tuple(values))


def _split(name: str, text: str) -> list[str]:
    """The words between commas; those in double quotes may hold commas."""
    try:
        words = [word.strip() for word in next(csv.reader([text], skipinitialspace=True, strict=True))]
    except csv.Error as error:
        raise CourseError(
            f"{name}: {error} in {brief(text, 40)}; a value in double quotes ends with one"
        ) from error
    if "" in words:
        raise CourseError(f"{name}: a value is empty; separate values by single commas")
    return words


def _values(name: str, kind: AxisKind, word: str) -> Iterator[float | str]:
    if kind.names and word not in kind.names:
        raise CourseError(f"{name} '{brief(word, 24)}' is not one of {', '.join(kind.names)}")
    if not kind.numbers:
        if name == "word":  # names of files may be anything
            check_text(name, word)
        yield word
        return
    for number in _numbers(name, word):
        try:
            yield kind.numbers.read(number)
        except CourseError as error:
            raise CourseError(f"{name} {error}") from None


def _numbers(name: str, word: str) -> Iterator[str]:
    """The numbers of a range, exact in decimals; any other word is itself."""
    match = _RANGE.fullmatch(word)
    if not match:
        yield word
        return
    try:
        first, last, step = (Decimal(match[part] or "1") for part in ("first", "last", "step"))
        if not (step > 0 and first <= last):
            raise InvalidOperation
    except InvalidOperation:
        raise CourseError(
            f"{name}: {brief(word, 40)} is no range; write FIRST..LAST or FIRST..LAST:STEP, rising, such as 2..8:2"
        ) from None
    while first <= last:
        yield f"{first:f}"
        first += step
