"""Bake LoRAs into a copy of a model, W + strength · alpha/rank · B A for W: then any program draws with them.

    kolors-course merge-lora data/loras/pixel.safetensors:0.8 -o outputs/pixel-mini
    kolors-course generate --model outputs/pixel-mini --prompt 夜晚雪地上的一只兔子

The copy is a folder in diffusers layout; only its U-Net differs.
"""

import argparse
from pathlib import Path

from kolors_course.cli import lora_files
from kolors_course.kolors import current_profile
from kolors_course.lora import merge_into_model, parse_lora_argument
from kolors_course.platform.device import limit_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("loras", nargs="+", metavar="FILE[:STRENGTH]", help="LoRA; 1 is its trained strength")
    parser.add_argument(
        "--model", metavar="DIR", help="base model in diffusers layout (default: that of KOLORS_PROFILE)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder to write; must not exist yet"
    )


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    model = str(arguments.model or current_profile().folder)
    loras = []
    for text in arguments.loras:
        path, strength = parse_lora_argument(text)
        loras.append((lora_files.read_fitting(path, model)[0], strength))
    merge = merge_into_model(model, loras, arguments.output)
    print(f"wrote {arguments.output}: {len(merge.layers)} layers changed by {len(loras)} LoRA(s)")
    if merge.left_out:
        print(f"not copied, because these weights are not merged: {', '.join(merge.left_out)}")
    return 0
