"""`kolors-course extract-lora`: what it does once its flags are read."""

import argparse

from tqdm.auto import tqdm

from kolors_course import __version__
from kolors_course.cli.reports import write_json
from kolors_course.kolors.settings import SAMPLING_FILE, read_sampling, said_by
from kolors_course.kolors.skeleton import unet_skeleton
from kolors_course.lora import (
    LoraFile,
    adaptable_layers,
    extract_lora,
    parse_target_modules,
    read_unet_weights,
    target_layers,
    write_lora,
)
from kolors_course.lora.wishes import SAMPLING_ENTRY
from kolors_course.platform.device import limit_threads, pick_device


def run(arguments: argparse.Namespace) -> int:
    limit_threads()
    skeleton, device = unet_skeleton(arguments.base), pick_device(arguments.device)
    layers = adaptable_layers(skeleton)
    if arguments.lora_target_modules:
        layers = target_layers(skeleton, parse_target_modules(arguments.lora_target_modules))
    base, tuned = read_unet_weights(arguments.base), read_unet_weights(arguments.tuned)
    with tqdm(desc="decomposing", unit="layer", disable=None) as bar:
        result = extract_lora(
            base, tuned, layers, arguments.rank, device=device, progress=lambda done: bar.update(done - bar.n)
        )
    report = {
        "version": __version__,
        "base_model": arguments.base.resolve().name,
        "tuned_model": arguments.tuned.resolve().name,
        "energy": result.total_energy,
        "left_out": len(result.left_out),
    }
    base_sampling, sampling = (
        read_sampling(folder / SAMPLING_FILE) for folder in (arguments.base, arguments.tuned)
    )
    if sampling != base_sampling:
        report[SAMPLING_ENTRY] = said_by(sampling)
    write_lora(arguments.output, LoraFile(arguments.output, result.state, result.settings, report))
    write_json(arguments.json, report | {"energy_by_layer": result.energy, "left_out": result.left_out})
    worst = min(result.energy, key=result.energy.__getitem__)
    print(
        f"wrote {arguments.output}: {len(result.energy)} layers of rank {arguments.rank}, "
        f"{result.total_energy:.2%} of the squared change kept (least: {result.energy[worst]:.2%} in {worst})"
    )
    if result.left_out:
        print(f"{len(result.left_out)} changed tensors are not in it (first: {result.left_out[0]})")
    return 0
