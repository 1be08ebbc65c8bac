"""Check a folder of pictures and captions before training on it.

    kolors-course check-dataset data/datasets/ink --sheet ink.png
    kolors-course check-dataset photos --min-side 1024 --aspect 0.5 2 --fix photos-mended

The folder, or train/ in it, holds metadata.csv or metadata.jsonl with file_name and text, or a .txt file beside each
picture, or one folder of pictures for each caption. Everything that was looked into is listed as ok, warning or error
with its file and line; the exit status is 2 if there is an error. With --fix it tells of the mended folder.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from PIL import Image

from kolors_course.cli.options import add_json, write_json
from kolors_course.dataset import (
    Filter,
    Report,
    check_dataset,
    export_data_juicer,
    fix_dataset,
    thumbnail_sheet,
)
from kolors_course.dataset.juicer import data_juicer_config
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors import current_profile
from kolors_course.kolors.model import diffusers_layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="the folder")
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="whose tokenizer counts the captions' tokens (default: that of KOLORS_PROFILE, or else Kolors-mini's)",
    )
    parser.add_argument(
        "--min-side",
        type=int,
        metavar="PIXELS",
        help="turn away pictures with a shorter side (the camp: 1024)",
    )
    parser.add_argument(
        "--aspect",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="turn away pictures whose width / height is not between these (the camp: 0.5 2)",
    )
    parser.add_argument("--fix", type=Path, metavar="DIR", help="write a mended copy to this new folder")
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="draw thumbnails with captions and warnings"
    )
    parser.add_argument(
        "--juicer",
        type=Path,
        metavar="DIR",
        help="write the filter as data-juicer's config.yaml and input.jsonl",
    )
    add_json(parser)


def _token_counter(model: str | None) -> Callable[[str], int]:
    folder = Path(model) if model else current_profile().folder
    if not model and not folder.is_dir():
        folder = current_profile("mini").folder
    path = diffusers_layout(folder).tokenizer
    try:
        tokenizer = ChatGLMTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(
            f"cannot load the tokenizer in {path}: {reason}; copy or download it again"
        ) from error
    print(f"captions are counted with the tokenizer of {folder}")
    prefix = len(tokenizer("")["input_ids"])
    return lambda text: len(tokenizer(text)["input_ids"]) - prefix


def _check(folder: Path, count_tokens: Callable[[str], int], wanted: Filter) -> Report:
    side = current_profile().size
    report = check_dataset(folder, training_size=(side, side), count_tokens=count_tokens, wanted=wanted)
    print("\n".join(report.lines()))
    return report


def _refuse_early(arguments: argparse.Namespace, wanted: Filter) -> None:
    """What cannot be done in the end, before anything is looked at or written."""
    if arguments.juicer:
        data_juicer_config(wanted, arguments.juicer)
    if arguments.sheet:
        kind = Image.registered_extensions().get(arguments.sheet.suffix.lower())
        if kind not in Image.SAVE:
            raise CourseError(
                f"--sheet {arguments.sheet}: its ending names no kind of picture; call it sheet.png"
            )


def run(arguments: argparse.Namespace) -> int:
    wanted = Filter(arguments.min_side, tuple(arguments.aspect) if arguments.aspect else None)
    _refuse_early(arguments, wanted)
    count_tokens = _token_counter(arguments.model)
    report = _check(arguments.dataset, count_tokens, wanted)
    facts = report.to_dict()
    write_json(arguments.json, facts)  # before anything that can fail
    if arguments.fix:
        repair = fix_dataset(arguments.dataset, arguments.fix, wanted)
        print("\n".join(repair.actions))
        print(f"wrote {repair.folder} with {repair.pictures} pictures")
        report = _check(repair.folder, count_tokens, wanted)
        facts["fixed"] = {"actions": repair.actions, **report.to_dict()}
        write_json(arguments.json, facts)
    if arguments.juicer:
        config = export_data_juicer(tuple(report.samples.values()), wanted, arguments.juicer)
        print(f"wrote {config}; run: dj-process --config {config}")
    if arguments.sheet:
        with atomic_path(arguments.sheet) as path:
            thumbnail_sheet(report).save(path)
        print(f"wrote {arguments.sheet}")
    return 0 if report.ok else 2
