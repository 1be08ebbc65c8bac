"""Measure a model on held-out prompts in both languages: does it draw what was asked, and in which style?

    kolors-course evaluate -o outputs/evaluation                      # base model
    kolors-course evaluate --lora data/loras/pixel.safetensors --style pixel -o outputs/pixel

Writes scores.json, scores.md and sheet.png. The judge is the probe network of data/probes, trained on rendered
scenes. With --style the subjects are the 40 that no style data set contains.
"""

import argparse
from pathlib import Path

from kolors_course.art.choices import BASE_STYLE, STYLES
from kolors_course.cli.flags import shared


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
    shared.add_sampling(parser)
    shared.add_lora(parser)
    shared.add_model(parser)
    shared.add_json(parser)
