"""Make one LoRA that does what several do together, each at its strength.

    kolors-course combine-lora ink.safetensors:0.6 paper.safetensors:0.5 -o both.safetensors
    kolors-course combine-lora ink.safetensors:0.6 paper.safetensors:0.5 -o both.safetensors --rank 16

The sum is exact: its rank is the sum of the ranks. --rank shrinks it by singular value decomposition to the closest
LoRA of that rank, and says how much of the squared change of weight is left.
"""

import argparse

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import COUNT, number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "loras", nargs="+", metavar="FILE[:STRENGTH]", help="two or more LoRAs of one base model"
    )
    shared.add_lora_output(parser)
    parser.add_argument(
        "--rank", type=number(COUNT), help="rank to shrink to (default: the sum of the ranks, exact)"
    )
    shared.add_unet(parser)
    shared.add_json(parser)
