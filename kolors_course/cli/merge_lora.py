"""`kolors-course merge-lora`: what it does once its flags are read."""

import argparse

from kolors_course.cli import lora_files
from kolors_course.kolors import current_profile
from kolors_course.lora import merge_into_model, parse_lora_argument
from kolors_course.platform.device import limit_threads


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    model = str(arguments.model or current_profile().present_folder())
    loras = []
    for text in arguments.loras:
        path, strength = parse_lora_argument(text)
        loras.append((lora_files.read_fitting(path, model)[0], strength))
        lora_files.warn_of_family(loras[-1][0])
    merge = merge_into_model(model, loras, arguments.output)
    print(f"wrote {arguments.output}: {len(merge.layers)} layers changed by {len(loras)} LoRA(s)")
    if merge.left_out:
        print(f"not copied, because these weights are not merged: {', '.join(merge.left_out)}")
    return 0
