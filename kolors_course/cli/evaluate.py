"""`kolors-course evaluate`: what it does once its flags are read."""

import argparse
from dataclasses import replace
from pathlib import Path

from kolors_course.art import BASE_STYLE, style_test_subjects
from kolors_course.cli import options
from kolors_course.cli.evaluate_report import run_report
from kolors_course.cli.evaluate_suite import run_suite
from kolors_course.cli.flags.evaluate import SCENES
from kolors_course.cli.reports import write_json
from kolors_course.errors import CourseError
from kolors_course.evaluation import (
    evaluate,
    held_out_prompts,
    load_probe,
    measure_fidelity,
    picture_sheet,
    score_table,
)
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.kolors.sampling import check_drawing
from kolors_course.platform.paths import data_dir
from kolors_course.viz import worst_sheet


def run(arguments: argparse.Namespace) -> int:
    _refuse_early(arguments)
    if arguments.report:
        return run_report(arguments)
    if arguments.suite:
        return run_suite(arguments)
    return _run_prompts(arguments)


def _refuse_early(arguments: argparse.Namespace) -> None:
    """Refuse flags that would have no effect.

    Raises:
        CourseError: there is one.
    """
    if arguments.report and arguments.output:
        raise CourseError("--report DIR says where the page goes; leave out -o")
    if not arguments.report and (arguments.against is not None or arguments.training):
        raise CourseError("--against and --training belong to --report DIR")


def _run_prompts(arguments: argparse.Namespace) -> int:
    scenes = arguments.scenes or SCENES
    sampling = options.sampling_of(arguments)
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    model = options.model_of(arguments)
    check_drawing(model, sampling, 2 * scenes)  # a prompt in each language
    folder = ensure_folder(arguments.output or Path("outputs/evaluation"))
    pool = None if arguments.style == BASE_STYLE else style_test_subjects()
    prompts = held_out_prompts(scenes, pool)
    result = evaluate(model, probe, prompts, sampling, options.picture_progress(len(prompts), "drawing"))
    fidelity = measure_fidelity(model, prompts, result.pictures, arguments.style, sampling.batch_size)
    columns = {
        name: replace(result.scores(arguments.style, language), fidelity=fidelity.means(language))
        for name, language in (("both", None), ("en", "en"), ("zh", "zh"))
    }
    table = score_table(columns)
    report = {
        "model": model.name,
        "lora": arguments.lora,
        "style": arguments.style,
        **sampling.said,
        "scores": {name: scores.to_dict() for name, scores in columns.items()},
        "fidelity_by_subject": fidelity.by_subject(),
    }
    write_json(folder / "scores.json", report)
    write_json(arguments.json, report)
    with atomic_path(folder / "scores.md") as path:
        path.write_text("\n".join(table) + "\n", encoding="utf-8")
    with atomic_path(folder / "sheet.png") as path:
        picture_sheet(result).save(path)
    with atomic_path(folder / "worst.png") as path:
        worst_sheet(fidelity).save(path)
    print("\n".join(table))
    print(f"wrote {folder}/scores.json, scores.md, sheet.png and worst.png")
    return 0
