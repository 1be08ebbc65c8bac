"""One cell: draw its pictures and measure them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from time import perf_counter

from PIL import Image

from kolors_course.art import Scene
from kolors_course.evaluation.fidelity import shape_fidelity
from kolors_course.evaluation.probes import Probe, agreement, look
from kolors_course.evaluation.variety import variety
from kolors_course.kolors.calls import counted_calls
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.sampling import generate
from kolors_course.ranges import SEEDS
from kolors_course.sweep.cells import Cell, Fixed, Wanted

VARIETY_SEEDS = 4  # pictures of each prompt whose variety is measured, the first of them its own
SEED_STEP = 1_000_003  # between them; held-out prompts have neighbouring seeds


@dataclass(frozen=True)
class Measured:
    """What is known of a cell.

    Attributes:
        pictures: how many were measured.
        calls: network calls of one picture, counted.
        seconds: for one picture, from prompt to pixels; those of the machine that drew it.
        right, asked: pictures by question, and "style". Empty where no scene is known.
        fidelity: shape fidelity of each picture of a known scene; empty where pictures are not square.
        variety: over seeds, beside the world's own; None where it was not measured.
    """

    pictures: int
    calls: float
    seconds: float
    right: dict[str, int]
    asked: dict[str, int]
    fidelity: tuple[float, ...]
    variety: float | None = None


def measure_cell(
    model: KolorsModel,
    probe: Probe,
    cell: Cell,
    fixed: Fixed,
    progress: Callable[[int], None] | None = None,
) -> tuple[Measured, list[Image.Image]]:
    """Draw and measure a cell with `model`, whose LoRAs are on already.

    Args:
        progress: called with the number of pictures finished so far, those for variety among them; see
            `pictures_of`.

    Raises:
        CourseError: what `kolors_course.kolors.generate` refuses.
    """
    started = perf_counter()
    with counted_calls(model.unet) as counted:
        pictures = _draw(model, cell.wanted, cell, fixed, progress)
    seconds, count = perf_counter() - started, len(pictures)
    known = [(w.scene, p) for w, p in zip(cell.wanted, pictures, strict=True) if w.scene is not None]
    right, asked = _facts(probe, known, fixed.style)
    square = bool(known) and known[0][1].width == known[0][1].height
    measured = Measured(
        count,
        counted.calls / count,
        seconds / count,
        right,
        asked,
        tuple(_fidelity(scene, picture, fixed.style) for scene, picture in known) if square else (),
    )
    if not fixed.varied:
        return measured, pictures

    def later(done: int) -> None:
        if progress:
            progress(count + done)

    return replace(measured, variety=_variety(model, cell, fixed, pictures, later)), pictures


def pictures_of(fixed: Fixed) -> int:
    """How many pictures a cell takes, those for variety among them."""
    return len(fixed.wanted) + fixed.varied * (VARIETY_SEEDS - 1)


def _draw(
    model: KolorsModel,
    wanted: Sequence[Wanted],
    cell: Cell,
    fixed: Fixed,
    progress: Callable[[int], None] | None,
) -> list[Image.Image]:
    prompts, seeds = [each.prompt for each in wanted], [each.seed for each in wanted]
    return generate(model, prompts, seeds, cell.sampling, progress, picture=fixed.image)


def _facts(
    probe: Probe, known: Sequence[tuple[Scene, Image.Image]], style: str
) -> tuple[dict[str, int], dict[str, int]]:
    """Pictures by question: where the probe sees what was wanted, and of how many it was asked."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    verdicts = look(probe, [picture for _, picture in known]) if known else []
    for (scene, _), verdict in zip(known, verdicts, strict=True):
        for question, answer in (agreement(scene, verdict) | {"style": verdict.style == style}).items():
            asked[question] += 1
            right[question] += answer
    return dict(right), dict(asked)


def _fidelity(scene: Scene, picture: Image.Image, style: str) -> float:
    """Of a pair, the mean."""
    return fmean(match.value for match in shape_fidelity(picture, scene, style))


def _variety(
    model: KolorsModel,
    cell: Cell,
    fixed: Fixed,
    pictures: Sequence[Image.Image],
    progress: Callable[[int], None],
) -> float:
    """Of the first prompts: their own pictures, and those of other seeds."""
    first = cell.wanted[: fixed.varied]
    others = [
        replace(each, seed=(each.seed + i * SEED_STEP) % SEEDS)
        for each in first
        for i in range(1, VARIETY_SEEDS)
    ]
    drawn = iter(_draw(model, others, cell, fixed, progress))
    groups = [[pictures[i], *(next(drawn) for _ in range(VARIETY_SEEDS - 1))] for i in range(len(first))]
    scenes = [each.scene for each in first if each.scene is not None]
    return variety(scenes, groups, fixed.style)
