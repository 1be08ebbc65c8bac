"""Drawing the cells of a sweep that are not kept yet."""

from collections.abc import Callable, Sequence
from itertools import groupby

from diffusers.utils import make_image_grid
from PIL import Image, ImageOps

from kolors_course.evaluation.probes import Probe
from kolors_course.kolors.model import KolorsModel
from kolors_course.lora import wear_loras
from kolors_course.sweep.cells import Sweep
from kolors_course.sweep.keep import CellStore, Kept
from kolors_course.sweep.measure import measure_cell

# Of many pictures these are shown: of four held-out scenes, two of them asked for in Chinese.
MOSAIC = (0, 3, 4, 7)
MOSAIC_SIDE = 256  # px of each, at most


def check_loras(model: KolorsModel, sweep: Sweep) -> None:
    """Put on every LoRA once, so that one which does not fit is told before hours of drawing.

    Raises:
        CourseError: see `load_lora`.
    """
    try:
        for loras in dict.fromkeys(cell.loras for cell in sweep.cells):
            wear_loras(model.unet, model.text_encoder, loras)
    finally:
        wear_loras(model.unet, model.text_encoder, ())


def draw_cells(
    model: KolorsModel,
    probe: Probe,
    sweep: Sweep,
    keys: Sequence[str],
    store: CellStore,
    progress: Callable[[int], object] | None = None,
) -> list[Kept]:
    """Every cell, kept or drawn now, in the order of `sweep.cells`.

    Each is kept as soon as it is finished, so that after an interruption only the others are drawn.

    Args:
        model: without LoRAs; it has none at the end, either.
        keys: of the cells, see `keys_of`.
        progress: called with the network calls made for each batch of pictures.

    Raises:
        CourseError: what `load_lora` and `generate` refuse, or the store cannot be written to.
    """
    kept = {i: found for i, key in enumerate(keys) if (found := store.get(key))}
    missing = sorted(set(range(len(keys))) - kept.keys(), key=lambda i: (str(sweep.cells[i].loras), i))
    try:
        for loras, rows in groupby(missing, key=lambda i: sweep.cells[i].loras):
            wear_loras(model.unet, model.text_encoder, loras)
            for i in rows:
                kept[i] = _draw(model, probe, sweep, i, progress)
                store.put(keys[i], kept[i])
    finally:
        wear_loras(model.unet, model.text_encoder, ())
    return [kept[i] for i in range(len(keys))]


def _draw(
    model: KolorsModel, probe: Probe, sweep: Sweep, i: int, progress: Callable[[int], object] | None
) -> Kept:
    cell, before = sweep.cells[i], 0

    def advance(done: int) -> None:
        nonlocal before
        if progress:
            progress((done - before) * cell.calls)
        before = done

    measured, pictures = measure_cell(model, probe, cell, sweep.fixed, advance)
    return Kept(measured, _mosaic(pictures))


def _mosaic(pictures: Sequence[Image.Image]) -> Image.Image:
    """One picture as it is; of many four, two by two."""
    if len(pictures) <= MOSAIC[-1]:
        return pictures[0]
    shown = [pictures[i] for i in MOSAIC]
    if max(shown[0].size) > MOSAIC_SIDE:
        shown = [ImageOps.contain(picture, (MOSAIC_SIDE, MOSAIC_SIDE)) for picture in shown]
    return make_image_grid(shown, 2, 2)
