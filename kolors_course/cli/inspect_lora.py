"""`kolors-course inspect-lora`: what it does once its flags are read."""

import argparse

from kolors_course.cli import lora_files
from kolors_course.cli.reports import write_json
from kolors_course.lora import LoraReport, inspect_lora
from kolors_course.lora.adapter import MisfitError


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
