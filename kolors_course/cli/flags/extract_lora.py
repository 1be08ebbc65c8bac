"""Make a LoRA out of two full models: what fine-tuning changed, in factors of low rank.

    kolors-course extract-lora models/Kolors-diffusers models/my-tuned-kolors --rank 32 -o tuned.safetensors

The difference of each layer is decomposed (singular value decomposition); the largest directions are kept. The
answer says how much of the squared change they hold. Biases and norms, which a LoRA cannot hold, are counted.
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import COUNT, number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", type=Path, help="base model, a folder in diffusers layout")
    parser.add_argument("tuned", type=Path, help="tuned model, likewise")
    shared.add_lora_output(parser)
    parser.add_argument(
        "--rank", type=number(COUNT), default=16, help="rank of the LoRA (default %(default)s)"
    )
    parser.add_argument(
        "--lora_target_modules",
        metavar="NAMES",
        help="only these layers, such as to_q,to_k,to_v,to_out (default: all that changed)",
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    shared.add_json(parser)
