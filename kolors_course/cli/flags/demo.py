"""The main job, end to end: check a data set, train a style LoRA, draw an eight-picture story before and after.

    kolors-course demo                  # 剪纸 paper-cut, a minute or two on two cores
    kolors-course demo --style ink

Writes OUTPUT/story.png and prints what the probe network measures on subjects the LoRA has never seen in its style.
"""

import argparse

from kolors_course.art.choices import LORA_STYLES
from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import COUNT, number
from kolors_course.cli.flags.outputs import output_folder
from kolors_course.ranges import whole

SCENES = 40  # held-out scenes, two prompts each; the base model's scores are kept for these


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--style", default="paper-cut", choices=LORA_STYLES, help="default %(default)s")
    parser.add_argument(
        "--steps", type=number(COUNT), default=200, help="training steps (default %(default)s)"
    )
    parser.add_argument(
        "--scenes",
        type=number(whole(1, 100_000)),
        default=SCENES,
        help="held-out scenes to measure on (default %(default)s)",
    )
    parser.add_argument(
        "-o", "--output", type=output_folder, default="outputs/story", help="default %(default)s"
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    shared.add_json(parser)
