"""Look into a LoRA file of any program: rank, alpha, scale, layers, size of its changes, and where it works.

    kolors-course inspect-lora data/loras/pixel.safetensors
    kolors-course inspect-lora "epoch=0-step=500.ckpt" --alpha 4

‖ΔW‖ is the Frobenius norm of scale · B A over the layers of a block: where the LoRA changes the model most. Where the
scale is not known, and of a DoRA, whose ΔW depends on the base weights too, ‖B A‖ stands instead. At the end stands
for each program whether it applies the LoRA at the strength it was trained at: yes; no; or after a number has been
set by hand.
"""

import argparse
from pathlib import Path

from kolors_course.cli import lora_files
from kolors_course.cli.options import add_json, write_json
from kolors_course.lora import LoraReport, inspect_lora
from kolors_course.lora.adapter import MisfitError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lora", type=Path, help="the file: .safetensors, .ckpt, .bin or .pt")
    lora_files.add_alpha(parser)
    lora_files.add_model(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    report = _report(arguments)
    print("\n".join(report.lines()))
    write_json(arguments.json, report.to_dict())
    return 0


def _report(arguments: argparse.Namespace) -> LoraReport:
    """About the first U-Net that fits; where none does, about the first whose layers tell the names of the file."""
    reports: list[LoraReport] = []
    misfits: list[MisfitError] = []
    for unet in lora_files.skeletons(arguments.model):
        try:
            reports.append(inspect_lora(arguments.lora, alpha=arguments.alpha, unet=unet))
        except MisfitError as error:
            misfits.append(error)
        else:
            if reports[-1].fits:
                return reports[-1]
    if not reports:
        raise misfits[0]
    return reports[0]
