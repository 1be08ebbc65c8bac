"""Check a folder of pictures and captions before training on it.

    kolors-course check-dataset data/datasets/ink --sheet ink.png
    kolors-course check-dataset photos --min-side 1024 --aspect 0.5 2 --fix photos-mended

The folder, or train/ in it, holds metadata.csv or metadata.jsonl with file_name and text, or a .txt or .caption file
beside each picture, or one folder of pictures for each caption; a folder called 10_cat, as kohya's trainers have it,
holds cats that come ten times in each pass. Everything that was looked into is listed as ok, warning or error with
its file and line; the exit status is 2 if there is an error. With --fix it tells of the mended folder.

Each picture is sent through the model's VAE and back, because what is lost there no LoRA can learn.
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import COUNT, number
from kolors_course.cli.flags.outputs import output_file, output_folder
from kolors_course.dataset.choices import MORE_STEPS
from kolors_course.ranges import POSITIVE, SHARE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="the folder")
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="whose tokenizer counts the captions' tokens, and whose VAE draws the pictures if it is there (default: "
        "that of KOLORS_PROFILE, or else Kolors-mini's tokenizer)",
    )
    parser.add_argument("--no-vae", action="store_true", help="do not send the pictures through the VAE")
    parser.add_argument(
        "--min-side",
        type=number(COUNT),
        metavar="PIXELS",
        help="turn away pictures with a shorter side (the camp: 1024)",
    )
    parser.add_argument(
        "--aspect",
        type=number(POSITIVE),
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="turn away pictures whose width / height is not between these (the camp: 0.5 2)",
    )
    parser.add_argument(
        "--max-blur",
        type=number(SHARE),
        metavar="SHARE",
        help="turn away pictures that are more blurred, from 0, sharp, to 1 (0.5 to begin with)",
    )
    parser.add_argument(
        "--fix", type=output_folder, metavar="DIR", help="write a mended copy to this new folder"
    )
    parser.add_argument(
        "--sheet", type=output_file(), metavar="FILE", help="draw thumbnails with captions and warnings"
    )
    parser.add_argument(
        "--juicer",
        type=output_folder,
        metavar="DIR",
        help="write the filter as data-juicer's config.yaml and input.jsonl",
    )
    parser.add_argument(
        "--juicer-also",
        nargs="+",
        default=[],
        choices=MORE_STEPS,
        metavar="STEP",
        help=f"steps of data-juicer besides: {', '.join(MORE_STEPS)}",
    )
    shared.add_json(parser)
