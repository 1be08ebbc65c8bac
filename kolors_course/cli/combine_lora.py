"""Make one LoRA that does what several do together, each at its strength.

    kolors-course combine-lora ink.safetensors:0.6 paper.safetensors:0.5 -o both.safetensors
    kolors-course combine-lora ink.safetensors:0.6 paper.safetensors:0.5 -o both.safetensors --rank 16

The sum is exact: its rank is the sum of the ranks. --rank shrinks it by singular value decomposition to the closest
LoRA of that rank, and says how much of the squared change of weight is left.
"""

import argparse
from pathlib import Path

from kolors_course import __version__
from kolors_course.cli import lora_files
from kolors_course.cli.options import add_json, write_json
from kolors_course.lora import LoraFile, combine_loras, parse_lora_argument, write_lora
from kolors_course.platform.device import limit_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "loras", nargs="+", metavar="FILE[:STRENGTH]", help="two or more LoRAs of one base model"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--rank", type=int, help="rank to shrink to (default: the sum of the ranks, exact)")
    lora_files.add_model(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    loras = []
    for text in arguments.loras:
        path, strength = parse_lora_argument(text)
        loras.append((lora_files.read_fitting(path, arguments.model)[0], strength))
    result = combine_loras(loras, arguments.rank)
    report = {
        "version": __version__,
        "base_model": " + ".join(dict.fromkeys(lora.base_model for lora, _ in loras)),
        "combined": [{"file": lora.path.name, "strength": strength} for lora, strength in loras],
        "energy": result.energy,
    }
    write_lora(arguments.output, LoraFile(arguments.output, result.state, result.settings, report))
    write_json(arguments.json, report | {"rank": result.settings.rank, "alpha": result.settings.alpha})
    print(
        f"wrote {arguments.output}: rank {result.settings.rank}, alpha {result.settings.alpha:g}, "
        f"{result.energy:.2%} of the squared change kept"
    )
    return 0
