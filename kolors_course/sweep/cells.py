"""The cells of a sweep: every combination of the axes' values, and all that decides what it draws."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from PIL import Image

from kolors_course.art import BASE_STYLE, Scene
from kolors_course.art.facts import scene_of
from kolors_course.diffusion.samplers import has_spacing
from kolors_course.errors import CourseError, brief
from kolors_course.kolors.calls import planned_calls
from kolors_course.kolors.settings import Sampling
from kolors_course.lora import parse_lora_argument
from kolors_course.prompting import texts_of
from kolors_course.sweep.axes import NO_LORA, Axis

# Axis -> field of `Sampling`.
SAMPLED = {
    "steps": "steps",
    "guidance": "guidance_scale",
    "sampler": "sampler",
    "spacing": "spacing",
    "denoise": "denoise",
}
MOST_CELLS = 10_000

Loras = tuple[tuple[Path, float], ...]


@dataclass(frozen=True)
class Wanted:
    """One picture: its prompt, its seed, and the scene that the prompt asks for; None where nobody can tell."""

    prompt: str
    seed: int
    scene: Scene | None


@dataclass(frozen=True)
class Fixed:
    """What no axis changes.

    Attributes:
        wanted: the pictures of every cell.
        sampling: what the axes leave as it is.
        loras: files and strengths, on in every cell.
        style: whose true drawings pictures are held against.
        image: what pictures start from, as far as `sampling.denoise` leaves it.
        varied: of how many of the pictures variety is measured, from the first on.
    """

    wanted: tuple[Wanted, ...]
    sampling: Sampling
    loras: Loras = ()
    style: str = BASE_STYLE
    image: Image.Image | None = None
    varied: int = 0


@dataclass(frozen=True)
class Cell:
    """A value of each axis, and what they make of the fixed settings.

    `note` says what else is known of it, such as that today's pictures are drawn so.
    """

    values: tuple[float | str, ...]
    sampling: Sampling
    loras: Loras
    wanted: tuple[Wanted, ...]
    calls: int  # of the network, for one picture
    note: str = ""


@dataclass(frozen=True)
class Sweep:
    """Axes, what is fixed, and the cells: the last axis changes slowest. Behind the grid stand those beside it."""

    axes: tuple[Axis, ...]
    fixed: Fixed
    cells: tuple[Cell, ...]

    def named(self, cell: Cell) -> str:
        """A cell as a line shows it: "steps 4, guidance 2"."""
        return _named(self.axes, cell.values)

    @property
    def lora_files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for cell in self.cells for path, _ in cell.loras))


def plan_sweep(
    axes: Sequence[Axis],
    fixed: Fixed,
    skip_impossible: bool = False,
    beside: Mapping[str, Sampling] | None = None,
) -> Sweep:
    """All cells, each known to be possible; no model is needed.

    Args:
        skip_impossible: leave out the spacings that a sampler with timesteps of its own does not have, instead of
            refusing them.
        beside: settings to compare the grid with, each with its note; only what the axes change counts, and no axis
            may change anything else than `SAMPLED`.

    Raises:
        CourseError: axes that do not go together or with what is fixed, a cell that cannot be drawn (the message
            names it), more than `MOST_CELLS`.
    """
    _check_axes(axes, fixed)
    if (count := prod(len(axis.values) for axis in axes)) > MOST_CELLS:
        raise CourseError(
            f"the axes make {count:,} cells, and at most {MOST_CELLS:,} are drawn; give fewer values"
        )
    cells = []
    for reverse in product(*(axis.values for axis in reversed(axes))):
        values = reverse[::-1]
        try:
            sampling = _sampling(axes, values, fixed.sampling)
            if skip_impossible and sampling.spacing != "leading" and not has_spacing(sampling.sampler):
                continue
            cells.append(_cell(axes, values, fixed, sampling))
        except CourseError as error:
            raise CourseError(f"{_named(axes, values)}: {error}") from None
    if not cells:
        raise CourseError("these samplers have timesteps of their own; let spacing be leading, too")
    for note, sampling in (beside or {}).items():
        values = tuple(getattr(sampling, SAMPLED[axis.name]) for axis in axes)
        cell = _cell(axes, values, fixed, _sampling(axes, values, fixed.sampling))
        i = next((i for i, other in enumerate(cells) if other.sampling == cell.sampling), len(cells))
        notes = [*filter(None, [cells[i].note]), note] if i < len(cells) else [note]
        cells[i : i + 1] = [replace(cell, note=", ".join(notes))]
    return Sweep(tuple(axes), fixed, tuple(cells))


def _named(axes: Sequence[Axis], values: Sequence[float | str]) -> str:
    return ", ".join(
        f"{axis.name} {brief(axis.label(value), 40)}" for axis, value in zip(axes, values, strict=True)
    )


def _check_axes(axes: Sequence[Axis], fixed: Fixed) -> None:
    """Refuse what can be told without looking at single cells.

    Raises:
        CourseError: an axis that stands twice, or one that has nothing to change.
    """
    names = [axis.name for axis in axes]
    searched = [str(axis.values[0]) for axis in axes if axis.name == "word"]
    for name in dict.fromkeys(names):
        if names.count(name) > 1 and (name != "word" or len(set(searched)) < len(searched)):
            raise CourseError(f"two axes change {name}; give two different ones")
    prompts = [wanted.prompt for wanted in fixed.wanted]
    for word in searched:
        if not any(_pattern([word]).search(prompt) for prompt in prompts):
            raise CourseError(
                f"the first word of an axis is replaced by the others, and '{brief(word, 40)}' is not in the prompt"
            )
    if "denoise" in names and fixed.image is None:
        raise CourseError("denoise needs a picture to start from; give --image")
    if "strength" in names:
        _check_strength(axes, fixed)


def _check_strength(axes: Sequence[Axis], fixed: Fixed) -> None:
    """Refuse an axis of strengths where there is no one LoRA that they are of.

    Raises:
        CourseError: it is not clear whose strength the axis changes.
    """
    files = [value for axis in axes if axis.name == "lora" for value in axis.values]
    if not files and len(fixed.loras) != 1:
        raise CourseError(
            f"strength changes that of one LoRA; give --lora once, not {len(fixed.loras)} times"
        )
    for file in files:
        if file == NO_LORA:
            raise CourseError(f"lora {NO_LORA} has no strength; give strength 0 instead")
        if parse_lora_argument(str(file)) != (Path(str(file)), 1.0):
            raise CourseError(
                f"lora {brief(file)}: its strength is said twice; leave it to the axis strength"
            )


def _sampling(axes: Sequence[Axis], values: Sequence[float | str], sampling: Sampling) -> Sampling:
    """`sampling` with what a cell's values change of it."""
    named = zip(axes, values, strict=True)
    changes: dict[str, Any] = {SAMPLED[axis.name]: value for axis, value in named if axis.name in SAMPLED}
    return sampling.but(**changes)


def _cell(axes: Sequence[Axis], values: Sequence[float | str], fixed: Fixed, sampling: Sampling) -> Cell:
    named = list(zip(axes, values, strict=True))
    chosen: dict[str, Any] = {axis.name: value for axis, value in named}
    words = {str(axis.values[0]): str(value) for axis, value in named if axis.name == "word"}
    wanted = tuple(_changed(each, words, chosen.get("seed")) for each in fixed.wanted)
    return Cell(tuple(values), sampling, _loras(chosen, fixed.loras), wanted, planned_calls(sampling))


def _loras(chosen: Mapping[str, Any], loras: Loras) -> Loras:
    """Those of every cell, then that of the axis; a strength goes to the last."""
    file = chosen.get("lora", NO_LORA)
    if file != NO_LORA:
        loras = (*loras, parse_lora_argument(file))
    if "strength" in chosen:
        loras = (*loras[:-1], (loras[-1][0], float(chosen["strength"])))
    return loras


def wanted_scene(prompt: str) -> Scene | None:
    """The scene that a prompt asks for; None where nobody can tell, as of one that changes on the way.

    Raises:
        CourseError: switches or weights in the prompt are wrong, see `texts_of`.
    """
    texts = texts_of(prompt)
    return scene_of(texts[0]) if len(texts) == 1 else None


def _changed(wanted: Wanted, words: Mapping[str, str], seed: int | None) -> Wanted:
    if words:
        prompt = _pattern(list(words)).sub(lambda match: words[match[0]], wanted.prompt)
        wanted = Wanted(prompt, wanted.seed, wanted_scene(prompt))
    return wanted if seed is None else replace(wanted, seed=seed)


def _pattern(words: Sequence[str]) -> re.Pattern:
    """Finds these words: Latin ones whole, so that a cat is not in a caterpillar; the longest first."""

    def guarded(word: str) -> Iterator[str]:
        # Chinese has no spaces between words, so only beside Latin letters and numbers is there an end.
        yield r"(?<![A-Za-z0-9])" if word[0].isascii() and word[0].isalnum() else ""
        yield re.escape(word)
        yield r"(?![A-Za-z0-9])" if word[-1].isascii() and word[-1].isalnum() else ""

    return re.compile("|".join("".join(guarded(word)) for word in sorted(words, key=len, reverse=True)))
