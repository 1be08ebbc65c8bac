"""Check a folder of pictures and captions before training on it.

    kolors-course check-dataset data/datasets/ink --sheet ink.png
    kolors-course check-dataset photos --min-side 1024 --aspect 0.5 2 --fix photos-mended

The folder, or train/ in it, holds metadata.csv or metadata.jsonl with file_name and text, or a .txt file beside each
picture, or one folder of pictures for each caption. Everything that was looked into is listed as ok, warning or error
with its file and line; the exit status is 2 if there is an error. With --fix it tells of the mended folder.
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared


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
    shared.add_json(parser)
