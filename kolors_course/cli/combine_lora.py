"""`kolors-course combine-lora`: what it does once its flags are read."""

import argparse

from kolors_course import __version__
from kolors_course.cli import lora_files
from kolors_course.cli.reports import write_json
from kolors_course.lora import LoraFile, combine_loras, parse_lora_argument, write_lora
from kolors_course.lora.combine import combined_metadata
from kolors_course.platform.device import limit_threads


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    loras = []
    for text in arguments.loras:
        path, strength = parse_lora_argument(text)
        loras.append((lora_files.read_fitting(path, arguments.model)[0], strength))
    result = combine_loras(loras, arguments.rank)
    origin, foreign = combined_metadata(loras)
    report = {"version": __version__, **origin, "energy": result.energy}
    file = LoraFile(arguments.output, result.state, result.settings, report, foreign=foreign)
    lora_files.warn_of_family(file)
    write_lora(arguments.output, file)
    write_json(arguments.json, report | {"rank": result.settings.rank, "alpha": result.settings.alpha})
    print(
        f"wrote {arguments.output}: rank {result.settings.rank}, alpha {result.settings.alpha:g}, "
        f"{result.energy:.2%} of the squared change kept"
    )
    return 0
