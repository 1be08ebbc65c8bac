"""Make the folder that is handed in: a LoRA, eight pictures or more with prompts and seeds, card and licence.

kolors-course bundle data/stories/little_ghost.yaml --lora data/loras/pixel.safetensors --team 小队 --number 000001 \\
    --about "像素风的小幽灵 a little ghost in pixels" -o outputs/bundle
kolors-course bundle --check outputs/bundle      # the rules, the files, and every picture drawn again and compared

The LoRA is named by the rule of the camp, 队伍名称-可图Kolors训练-xxxxxx. Kolors' licence wants a copy of itself, a
notice of the change and its terms passed on with every LoRA; LoRAs of Kolors-mini are under the Apache License 2.0.
The text comes from the model's folder (MODEL_LICENSE or LICENSE), for Kolors-mini from this repository, or from
--licence.
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import number
from kolors_course.cli.flags.outputs import output_folder
from kolors_course.ranges import Range


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("storyboard", type=Path, nargs="?", help="the story whose pictures are handed in")
    parser.add_argument("--check", type=Path, metavar="DIR", help="check a bundle instead of making one")
    parser.add_argument("-o", "--output", type=output_folder, help="a new or empty folder")
    parser.add_argument("--team", metavar="NAME", help="name of the team")
    parser.add_argument(
        "--number", metavar="XXXXXX", help="six letters or digits, as the organiser gave them"
    )
    parser.add_argument("--about", metavar="TEXT", help="the description: what the LoRA is for")
    parser.add_argument("--licence", type=Path, metavar="FILE", help="the base model's licence")
    parser.add_argument(
        "--aesthetic",
        type=number(Range(0, 10)),
        metavar="SCORE",
        help="mean aesthetic score, if it was measured",
    )
    shared.add_sampling(parser)
    shared.add_lora_files(parser)
    shared.add_model(parser)
