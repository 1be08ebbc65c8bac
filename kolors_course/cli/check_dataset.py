"""Check a folder of pictures and captions before training on it.

The folder holds train/metadata.csv with the columns file_name,text and the pictures beside it. Every fault is
listed with its line; the exit status is 2 if there is one.
"""

import argparse
from pathlib import Path

from kolors_course.cli.options import add_json, write_json
from kolors_course.dataset import check_dataset
from kolors_course.kolors import current_profile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="the folder")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    side = current_profile().size
    report = check_dataset(arguments.dataset, training_size=(side, side))
    print("\n".join(report.lines()))
    write_json(arguments.json, report.to_dict())
    return 0 if report.ok else 2
