"""`kolors-course evaluate --report`: one page about a model or a LoRA."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from PIL import Image

from kolors_course.art import BASE_STYLE, Subject, style_test_subjects
from kolors_course.cli import options
from kolors_course.cli.drawing import draw_told
from kolors_course.cli.flags.evaluate import REPORT_SCENES
from kolors_course.cli.reports import write_json
from kolors_course.dataset import read_dataset
from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError, printable
from kolors_course.evaluation import DrawnStore, HeldOutPrompt, Probe, held_out_prompts, load_probe
from kolors_course.evaluation.prompts import TEST_SEED
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.kolors import KolorsModel, Sampling
from kolors_course.kolors.fingerprint import hash_of_weights
from kolors_course.kolors.sampling import check_drawing
from kolors_course.lora import hash_of_lora, parse_lora_argument, wear_loras
from kolors_course.platform.paths import data_dir
from kolors_course.platform.provenance import provenance
from kolors_course.report import (
    MULTIPLES,
    SCENES,
    AtStrength,
    ModelReport,
    at_strength,
    compare_facts,
    find,
    find_memory,
    independent_rows,
    measure_distances,
    plain_report,
    report_page,
    world_pictures,
)

FEWEST_SCENES = 10  # below, distances of sets mean nothing
TRAINING = 500  # pictures of a training set that are looked at, at most

Worn = tuple[tuple[Path, float], ...]


@dataclass(frozen=True)
class _Work:
    """What all drawing of a report shares. `model` wears nothing between drawings."""

    model: KolorsModel
    probe: Probe
    sampling: Sampling
    store: DrawnStore
    style: str

    def draw(
        self, worn: Worn, prompts: Sequence[HeldOutPrompt], description: str, later: int | None = None
    ) -> list[Image.Image]:
        """One picture for each prompt, by the model with these LoRAs on; `later` as in `draw_told`."""
        hashes = [(hash_of_lora(path), strength) for path, strength in worn]
        texts, seeds = [each.prompt for each in prompts], [each.seed for each in prompts]
        wear_loras(self.model.unet, self.model.text_encoder, worn)
        try:
            return draw_told(self.model, texts, seeds, self.sampling, self.store, hashes, description, later)
        finally:
            wear_loras(self.model.unet, self.model.text_encoder, ())


def run_report(arguments: argparse.Namespace) -> int:
    scenes = arguments.scenes or REPORT_SCENES
    if scenes < FEWEST_SCENES:
        raise CourseError(
            f"--report needs at least {FEWEST_SCENES} --scenes; distances of fewer pictures say nothing"
        )
    sampling = options.sampling_of(arguments)
    main = tuple(parse_lora_argument(text) for text in arguments.lora)
    other = _against(arguments.against, main)
    for path, _ in (*main, *(other or ())):
        hash_of_lora(path)
    training = _training_pictures(arguments)
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    model = options.model_of(arguments)  # with every --lora, so that one that does not fit is told at once
    _check_against(model, main, other)
    prompts = held_out_prompts(scenes, _pool(arguments.style))
    few = prompts[: 2 * SCENES] if len(main) == 1 else []
    count = len(prompts) * (1 + (other is not None)) + len(few) * (len(MULTIPLES) - 1)
    check_drawing(model, sampling, count)
    print(f"plan: {scenes} scenes in two languages, {count:,} pictures", flush=True)
    folder = ensure_folder(arguments.report)
    store = DrawnStore(ensure_folder(folder / "pictures"))
    work = _Work(model, probe, sampling, store, arguments.style)
    report = _measured(
        work, prompts, few, main, other, training, _made_by(arguments, work, main, other, scenes)
    )
    facts = plain_report(report) | {"lora": arguments.lora}
    page = report_page(report)
    with atomic_path(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")
    write_json(folder / "report.json", facts)
    write_json(arguments.json, facts)
    print(f"wrote {folder}/report.html and report.json")
    return 0


def _pool(style: str) -> tuple[Subject, ...] | None:
    """Of a style that a LoRA brings only subjects that its data set does not show."""
    return None if style == BASE_STYLE else style_test_subjects()


def _against(text: str | None, main: Worn) -> Worn | None:
    """What is compared with: None for nothing, () for the model alone.

    Raises:
        CourseError: it is the same as --lora, or no FILE[:STRENGTH].
    """
    if text is None:
        return None
    other = () if text == "none" else (parse_lora_argument(text),)
    if other == main:
        raise CourseError(
            "--against names what the report is about; give another LoRA, or none for the model alone"
        )
    return other


def _check_against(model: KolorsModel, main: Worn, other: Worn | None) -> None:
    """Put the other LoRA on for a moment, so that one that does not fit is told before anything is drawn."""
    if other:
        wear_loras(model.unet, model.text_encoder, other)
    wear_loras(model.unet, model.text_encoder, ())


def _training_pictures(arguments: argparse.Namespace) -> list[Image.Image]:
    """Those of --training, else of the data set that the repository's LoRA of this style learned; or none.

    Raises:
        CourseError: see `read_dataset`; or there are fewer than two.
    """
    own = data_dir() / "datasets" / arguments.style
    folder = arguments.training or (own if arguments.lora and own.is_dir() else None)
    if folder is None:
        return []
    samples = read_dataset(folder).samples[:TRAINING]
    if len(samples) < 2:
        raise CourseError(
            f"--training {folder} has only {len(samples)} picture; give at least two, to find the nearest"
        )
    pictures = []
    for sample in samples:
        picture = open_picture(sample.path)
        picture.thumbnail((256, 256))
        pictures.append(picture)
    return pictures


def _measured(
    work: _Work,
    prompts: Sequence[HeldOutPrompt],
    few: Sequence[HeldOutPrompt],
    main: Worn,
    other: Worn | None,
    training: Sequence[Image.Image],
    made_by: dict[str, str],
) -> ModelReport:
    """Draw and measure everything."""
    both = [main] if other is None else [main, other]
    later: int | None = len(prompts) * (len(both) - 1) + len(few) * (len(MULTIPLES) - 1)
    sides = []
    for worn, name in zip(both, _names(work.model, both), strict=True):
        pictures = work.draw(worn, prompts, name, later)
        sides.append(find(name, work.probe, work.model, prompts, pictures, work.style))
        later = None  # it was told
    rows = independent_rows(prompts)
    world = world_pictures(len(rows), work.style, sides[0].pictures[0].width, _pool(work.style))
    distances = [measure_distances(work.probe, [side.pictures[i] for i in rows], world) for side in sides]
    memory = find_memory(work.probe, sides[0].pictures, world, training) if training else None
    strengths = _strengths(work, main[0], few) if few else ()
    beside = (sides[1], distances[1], compare_facts(*sides)) if len(sides) == 2 else (None, None, None)
    return ModelReport(work.style, sides[0], distances[0], memory, strengths, made_by, *beside)


def _strengths(
    work: _Work, lora: tuple[Path, float], prompts: Sequence[HeldOutPrompt]
) -> tuple[AtStrength, ...]:
    path, asked = lora
    found = []
    for strength in sorted({asked * multiple for multiple in MULTIPLES}):
        worn: Worn = ((path, strength),) if strength else ()
        pictures = work.draw(worn, prompts, f"strength {strength:g}")
        found.append(at_strength(strength, work.probe, prompts, pictures, work.style))
    return tuple(found)


def _names(model: KolorsModel, sides: Sequence[Worn]) -> list[str]:
    """The names of files without folder and ending; with both where two sides would be called the same."""

    def name(worn: Worn, whole: bool) -> str:
        files = [
            printable(str(path) if whole else path.stem) + ("" if strength == 1 else f" × {strength:g}")
            for path, strength in worn
        ]
        return " + ".join(files) or model.name

    names = [name(worn, False) for worn in sides]
    return names if len(set(names)) == len(names) else [name(worn, True) for worn in sides]


def _made_by(
    arguments: argparse.Namespace, work: _Work, main: Worn, other: Worn | None, scenes: int
) -> dict[str, str]:
    """Where the page comes from, in the order in which it is shown."""
    model, sampling = work.model, work.sampling
    parts = (model.unet, model.vae, model.text_encoder)
    rows = {
        "command": arguments.command_line,
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "model": model.name,
        "U-Net, VAE, text encoder": " ".join(hash_of_weights(part)[:16] for part in parts),
    }
    for path, strength in (*main, *(other or ())):
        rows[f"LoRA {printable(str(path))} × {strength:g}"] = f"SHA-256 {hash_of_lora(path)}"
    said = sampling.said | {"device": str(model.device)}
    rows |= {
        "prompts": f"{scenes} held-out scenes from seed {TEST_SEED}, each in English and Chinese on the same noise",
        "sampling": ", ".join(f"{name} {value}" for name, value in said.items()),
        "probe": hash_of_weights(work.probe)[:16],
    }
    return rows | {name: str(value) for name, value in provenance(model.device).items()}
