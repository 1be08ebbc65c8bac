"""`kolors-course evaluate --suite`: the prompt benchmark."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from kolors_course.art import BASE_STYLE, style_test_subjects
from kolors_course.cli import options
from kolors_course.cli.drawing import draw_told
from kolors_course.cli.flags.evaluate import SUITE_SCENES
from kolors_course.cli.reports import write_json
from kolors_course.evaluation import (
    Answer,
    DrawnStore,
    judge,
    load_probe,
    suite_prompts,
    suite_scores,
    suite_table,
)
from kolors_course.evaluation.suite import SUITE_SEED, TASKS
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.kolors.sampling import check_drawing
from kolors_course.lora import hash_of_lora, parse_lora_argument
from kolors_course.platform.paths import data_dir
from kolors_course.platform.provenance import provenance
from kolors_course.viz import suite_sheet


def run_suite(arguments: argparse.Namespace) -> int:
    scenes = arguments.scenes or SUITE_SCENES
    sampling = options.sampling_of(arguments)
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    worn = [parse_lora_argument(text) for text in arguments.lora]
    loras = [(hash_of_lora(path), strength) for path, strength in worn]
    model = options.model_of(arguments)
    prompts = suite_prompts(
        scenes, arguments.style, None if arguments.style == BASE_STYLE else style_test_subjects()
    )
    check_drawing(model, sampling, len(prompts))
    print(
        f"plan: {len(TASKS)} tasks, {scenes} scenes each in two languages, {len(prompts):,} pictures",
        flush=True,
    )
    folder = ensure_folder(arguments.output or Path("outputs/suite"))
    store = DrawnStore(ensure_folder(folder / "pictures"))
    texts, seeds = [each.prompt for each in prompts], [each.seed for each in prompts]
    pictures = draw_told(model, texts, seeds, sampling, store, loras)
    answers = judge(probe, prompts, pictures)
    columns = {
        name: suite_scores(answers, language)
        for name, language in (("both", None), ("en", "en"), ("zh", "zh"))
    }
    report = {
        "command": arguments.command_line,
        "model": model.name,
        "lora": arguments.lora,
        "style": arguments.style,
        "scenes_of_a_task": scenes,
        "seed_of_scenes": SUITE_SEED,
        **sampling.said,
        "scores": {name: asdict(scores) for name, scores in columns.items()},
        "prompts": [_row(answer) for answer in answers],
        "made_by": provenance(model.device),
    }
    print("\n".join(_write(folder, suite_table(columns), report, answers, pictures)))
    write_json(arguments.json, report)
    return 0


def _row(answer: Answer) -> dict[str, Any]:
    asked = answer.asked
    names = {"task": asked.task, "language": asked.language, "prompt": asked.prompt, "seed": asked.seed}
    return names | {"right": answer.right, "facts": answer.facts}


def _write(
    folder: Path,
    table: list[str],
    report: dict[str, Any],
    answers: Sequence[Answer],
    pictures: Sequence[Image.Image],
) -> list[str]:
    """Write scores.json, scores.md and a sheet for each task; returns what to print."""
    write_json(folder / "scores.json", report)
    with atomic_path(folder / "scores.md") as path:
        path.write_text("\n".join(table) + "\n", encoding="utf-8")
    for task in TASKS:
        rows = [i for i, answer in enumerate(answers) if answer.asked.task == task]
        with atomic_path(folder / f"{task}.png") as path:
            suite_sheet([answers[i] for i in rows], [pictures[i] for i in rows]).save(path)
    return [*table, f"wrote {folder}/scores.json, scores.md and a sheet of each task"]
