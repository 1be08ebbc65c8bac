"""`kolors-course sweep`: what it does once its flags are read."""

import argparse
from collections.abc import Sequence
from math import ceil
from time import perf_counter
from typing import Any

from tqdm.auto import tqdm

from kolors_course.art import BASE_STYLE, style_test_subjects
from kolors_course.cli import options
from kolors_course.cli.adopt import adopt, check_adoption
from kolors_course.cli.flags.sweep import GRID, SCENES
from kolors_course.cli.reports import write_json
from kolors_course.cli.signals import ended_in_order
from kolors_course.cli.sweep_files import write_recommendation, write_sheet
from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError
from kolors_course.evaluation import held_out_prompts, load_probe
from kolors_course.evaluation.probes import Probe
from kolors_course.evaluation.prompts import TEST_SEED
from kolors_course.files import ensure_folder
from kolors_course.kolors import PUBLISHED, KolorsModel, Sampling, generate
from kolors_course.kolors.sampling import check_drawing, check_size
from kolors_course.lora import parse_lora_argument
from kolors_course.platform.paths import data_dir
from kolors_course.platform.provenance import provenance
from kolors_course.sweep import (
    Axis,
    Cell,
    CellStore,
    Fixed,
    Kept,
    Sweep,
    Wanted,
    check_lora_files,
    check_loras,
    draw_cells,
    keys_of,
    parse_axis,
    pictures_of,
    plan_sweep,
    wanted_scene,
)

OF_A_PROMPT = ("seed", "denoise", "word")
TIMED = 4  # pictures that the time of all is estimated by, at most
VARIED = 16  # held-out prompts whose variety is measured, at most; and at most a quarter of them


def run(arguments: argparse.Namespace) -> int:
    axes = _recommended_axes(arguments) if arguments.recommend else _sheet_axes(arguments)
    check_adoption(arguments)
    fixed = _fixed(arguments, axes)
    sweep = plan_sweep(axes, fixed, arguments.recommend, _beside(arguments) if arguments.recommend else None)
    print(_size_of(sweep), flush=True)
    check_lora_files(sweep)
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    model = _model(arguments)
    width, height = check_size(model, fixed.sampling)
    check_drawing(model, fixed.sampling, pictures_of(fixed), 3 * width * height * len(sweep.cells))
    keys = keys_of(model, probe, sweep)
    check_loras(model, sweep)
    _tell_words(model, arguments, sweep)
    folder = ensure_folder(arguments.output)
    kept = _draw(model, probe, sweep, keys, CellStore(ensure_folder(folder / "cells")))
    report = {"command": arguments.command_line, **_conditions(model, arguments)}
    write = write_recommendation if arguments.recommend else write_sheet
    written = write(folder, sweep, kept, report)
    write_json(arguments.json, report)
    if arguments.adopt:
        written.append(adopt(arguments, report))
    print("\n".join(written))
    return 0


def _sheet_axes(arguments: argparse.Namespace) -> list[Axis]:
    """Those of --x, --y and --z, without a gap.

    Raises:
        CourseError: there is none, one is missing, or a flag does not go with them.
    """
    given = [arguments.x, arguments.y, arguments.z]
    axes = [axis for axis in given if axis]
    if not axes or given[: len(axes)] != axes:
        raise CourseError(
            "give --x, then --y, then --z, such as --x steps=2,4,8 --y guidance=1,2,5; or --recommend"
        )
    if arguments.over:
        raise CourseError("--over belongs to --recommend; give --x, --y or --z")
    if (arguments.prompt is None) == (arguments.scenes is None):
        raise CourseError("give either --prompt or --scenes")
    if arguments.scenes:
        _without_a_prompt(arguments, axes)
    return axes


def _recommended_axes(arguments: argparse.Namespace) -> list[Axis]:
    """The four of `GRID`, with the values of --over.

    Raises:
        CourseError: --over names another axis or one twice, or a flag does not go with --recommend.
    """
    axes = {axis.name: axis for axis in map(parse_axis, GRID)}
    names = [axis.name for axis in arguments.over]
    for name in names:
        if name not in axes or names.count(name) > 1:
            raise CourseError(
                f"--over takes each of {', '.join(axes)} once; {name} is another, or stands twice"
            )
    if arguments.x or arguments.y or arguments.z or arguments.prompt is not None:
        raise CourseError(
            "--recommend draws held-out prompts over a grid of its own; change it by --over and --scenes"
        )
    _without_a_prompt(arguments, arguments.over)
    return list((axes | {axis.name: axis for axis in arguments.over}).values())


def _without_a_prompt(arguments: argparse.Namespace, axes: Sequence[Axis]) -> None:
    """Refuse what has no effect on held-out prompts.

    Raises:
        CourseError: an axis or a flag is such.
    """
    for axis in axes:
        if axis.name in OF_A_PROMPT:
            raise CourseError(f"{axis.name} needs --prompt; held-out prompts have their own words and seeds")
    if arguments.seed is not None or arguments.image:
        raise CourseError(
            "--seed and --image need --prompt; held-out prompts have seeds and scenes of their own"
        )


def _fixed(arguments: argparse.Namespace, axes: Sequence[Axis]) -> Fixed:
    sampling = options.sampling_of(arguments)
    image = open_picture(arguments.image) if arguments.image else None
    if sampling.denoise < 1 and not image:
        raise CourseError(f"denoise {sampling.denoise:g} needs a picture to start from; give --image")
    loras = tuple(parse_lora_argument(text) for text in arguments.lora)
    if arguments.prompt is not None:
        one = Wanted(arguments.prompt, arguments.seed or 0, wanted_scene(arguments.prompt))
        return Fixed((one,), sampling, loras, arguments.style, image)
    pool = None if arguments.style == BASE_STYLE else style_test_subjects()
    prompts = held_out_prompts(arguments.scenes or SCENES, pool)
    wanted = tuple(Wanted(each.prompt, each.seed, each.scene) for each in prompts)
    return Fixed(wanted, sampling, loras, arguments.style, varied=min(VARIED, ceil(len(wanted) / 4)))


def _beside(arguments: argparse.Namespace) -> dict[str, Sampling]:
    """What a recommendation is compared with, whatever the grid is."""
    return {"today": options.present_sampling(arguments), "published": PUBLISHED}


def _model(arguments: argparse.Namespace) -> KolorsModel:
    """Without LoRAs, which each cell brings."""
    return options.model_of(argparse.Namespace(**vars(arguments) | {"lora": []}))


def _size_of(sweep: Sweep) -> str:
    axes = " x ".join(f"{len(axis.values)} {axis.name}" for axis in sweep.axes)
    if notes := [cell.note for cell in sweep.cells if cell.note]:
        axes += f"; among them or beside them: {', '.join(notes)}"
    pictures = len(sweep.cells) * pictures_of(sweep.fixed)
    calls = _calls(sweep, sweep.cells)
    return f"plan: {len(sweep.cells):,} cells ({axes}), {pictures:,} pictures, {calls:,} network calls"


def _calls(sweep: Sweep, cells: Sequence[Cell]) -> int:
    return sum(cell.calls for cell in cells) * pictures_of(sweep.fixed)


def _conditions(model: KolorsModel, arguments: argparse.Namespace) -> dict[str, Any]:
    given = {"prompt": arguments.prompt, "seed": arguments.seed or 0}
    held_out = {"scenes": arguments.scenes or SCENES, "seed_of_scenes": TEST_SEED}
    return {
        "model": model.name,
        **(held_out if arguments.prompt is None else given),
        "negative": arguments.negative,
        "made_by": provenance(model.device),
    }


def _tell_words(model: KolorsModel, arguments: argparse.Namespace, sweep: Sweep) -> None:
    """What will not be understood, or not be measured."""
    if arguments.prompt is None:
        return
    wanted = [each for cell in sweep.cells for each in cell.wanted]
    files = argparse.Namespace(lora=[f"{path}:1" for path in sweep.lora_files])
    options.tell_unknown_words(model, files, [each.prompt for each in wanted])
    if unknown := sum(each.scene is None for each in wanted):
        print(
            f"facts and shape fidelity are left out of {unknown} of {len(wanted)} pictures: their prompt does not "
            "name one subject or two, one place and one time"
        )


def _draw(
    model: KolorsModel, probe: Probe, sweep: Sweep, keys: Sequence[str], store: CellStore
) -> list[Kept]:
    """Draw what is missing, saying beforehand how much it is."""
    missing = [cell for cell, key in zip(sweep.cells, keys, strict=True) if store.get(key) is None]
    there = len(keys) - len(missing)
    if there:
        print(f"{there:,} cells are there already; {len(missing):,} are drawn")
    if missing:
        print(_estimate(model, missing, sweep), flush=True)
    with (
        ended_in_order(),
        tqdm(total=_calls(sweep, missing), desc="sweep", unit="call", unit_scale=True, disable=None) as bar,
    ):
        return draw_cells(model, probe, sweep, keys, store, bar.update)


def _estimate(model: KolorsModel, missing: Sequence[Cell], sweep: Sweep) -> str:
    """How long it takes, by pictures of the cells with the fewest and the most calls: seconds = a + b · calls."""
    cells = [min(missing, key=lambda cell: cell.calls), max(missing, key=lambda cell: cell.calls)]
    _seconds(model, cells[0], sweep)  # wakes the device up
    (few, quick), (many, slow) = ((cell.calls, _seconds(model, cell, sweep)) for cell in cells)
    each = max(0.0, slow - quick) / max(1, many - few)
    total = sum(quick + (cell.calls - few) * each for cell in missing) * pictures_of(sweep.fixed)
    about = f"{ceil(total)} s" if total < 90 else f"{ceil(total / 60):,} min"
    return f"time: about {about}; a picture of {few} network calls takes {quick:.2f} s, one of {many} {slow:.2f} s"


def _seconds(model: KolorsModel, cell: Cell, sweep: Sweep) -> float:
    """For one of a few pictures, drawn together as far as those of the sweep are."""
    few, started = cell.wanted[:TIMED], perf_counter()
    prompts, seeds = [each.prompt for each in few], [each.seed for each in few]
    generate(model, prompts, seeds, cell.sampling, picture=sweep.fixed.image)
    return (perf_counter() - started) / len(few)
