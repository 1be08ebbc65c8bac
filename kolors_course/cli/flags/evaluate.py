"""Measure a model on held-out prompts in both languages: does it draw what was asked, and in which style?

    kolors-course evaluate -o outputs/evaluation                      # base model
    kolors-course evaluate --lora data/loras/pixel.safetensors --style pixel -o outputs/pixel

Writes scores.json, scores.md, sheet.png and worst.png. Two judges look: the probe network of data/probes, trained on
rendered scenes, says what it recognises; shape fidelity says how like its true drawing each subject is (1: the world
itself), beside what the VAE alone reaches. With --style the subjects are the 40 that no style data set contains, and
the true drawings are the style's.
"""

import argparse

from kolors_course.art.choices import BASE_STYLE, STYLES
from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import number
from kolors_course.cli.flags.outputs import output_folder
from kolors_course.ranges import whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenes",
        type=number(whole(1, 100_000)),
        default=200,
        help="held-out scenes, two prompts each (default %(default)s)",
    )
    parser.add_argument(
        "--style", default=BASE_STYLE, choices=STYLES, help="style that is wanted (default %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", type=output_folder, default="outputs/evaluation", help="default %(default)s"
    )
    shared.add_sampling(parser)
    shared.add_lora_files(parser)
    shared.add_model(parser)
    shared.add_json(parser)
