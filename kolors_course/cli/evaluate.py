"""Measure a model on held-out prompts in both languages: does it draw what was asked, and in which style?

    kolors-course evaluate -o outputs/evaluation                      # base model
    kolors-course evaluate --lora data/loras/pixel.safetensors --style pixel -o outputs/pixel

Writes scores.json, scores.md and sheet.png. The judge is the probe network of data/probes, trained on rendered
scenes. With --style the subjects are the 40 that no style data set contains.
"""

import argparse
from pathlib import Path

from kolors_course.art import BASE_STYLE, STYLES, style_test_subjects
from kolors_course.cli import options
from kolors_course.errors import CourseError
from kolors_course.evaluation import evaluate, held_out_prompts, load_probe, picture_sheet, score_table
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.platform.paths import data_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenes", type=int, default=200, help="held-out scenes, two prompts each (default %(default)s)"
    )
    parser.add_argument(
        "--style", default=BASE_STYLE, choices=STYLES, help="style that is wanted (default %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("outputs/evaluation"), help="default %(default)s"
    )
    options.add_sampling(parser)
    options.add_lora(parser)
    options.add_model(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.scenes < 1:
        raise CourseError(f"--scenes must be at least 1, not {arguments.scenes}")
    sampling = options.sampling_of(arguments)
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    model = options.model_of(arguments)
    folder = ensure_folder(arguments.output)
    pool = None if arguments.style == BASE_STYLE else style_test_subjects()
    prompts = held_out_prompts(arguments.scenes, pool)
    result = evaluate(model, probe, prompts, sampling, options.picture_progress(len(prompts), "drawing"))
    columns = {"both": result.scores(arguments.style)}
    columns |= {language: result.scores(arguments.style, language) for language in ("en", "zh")}
    table = score_table(columns)
    report = {
        "model": model.name,
        "lora": arguments.lora,
        "style": arguments.style,
        "steps": sampling.steps,
        "guidance_scale": sampling.guidance_scale,
        "sampler": sampling.sampler,
        "scores": {name: scores.to_dict() for name, scores in columns.items()},
    }
    options.write_json(folder / "scores.json", report)
    options.write_json(arguments.json, report)
    with atomic_path(folder / "scores.md") as path:
        path.write_text("\n".join(table) + "\n", encoding="utf-8")
    with atomic_path(folder / "sheet.png") as path:
        picture_sheet(result).save(path)
    print("\n".join(table))
    print(f"wrote {folder}/scores.json, scores.md and sheet.png")
    return 0
