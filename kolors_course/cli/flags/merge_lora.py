"""Bake LoRAs into a copy of a model, W + strength · alpha/rank · B A for W: then any program draws with them.

    kolors-course merge-lora data/loras/pixel.safetensors:0.8 -o outputs/pixel-mini
    kolors-course generate --model outputs/pixel-mini --prompt 夜晚雪地上的一只兔子

The copy is a folder in diffusers layout; only its U-Net differs.
"""

import argparse

from kolors_course.cli.flags.outputs import output_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("loras", nargs="+", metavar="FILE[:STRENGTH]", help="LoRA; 1 is its trained strength")
    parser.add_argument(
        "--model", metavar="DIR", help="base model in diffusers layout (default: that of KOLORS_PROFILE)"
    )
    parser.add_argument(
        "-o", "--output", type=output_folder, required=True, help="folder to write; must not exist yet"
    )
