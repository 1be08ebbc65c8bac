"""Make a LoRA out of two full models: what fine-tuning changed, in factors of low rank.

    kolors-course extract-lora models/Kolors-diffusers models/my-tuned-kolors --rank 32 -o tuned.safetensors

The difference of each layer is decomposed (singular value decomposition); the largest directions are kept. The
answer says how much of the squared change they hold. Biases and norms, which a LoRA cannot hold, are counted.
"""

import argparse
from pathlib import Path

from tqdm.auto import tqdm

from kolors_course import __version__
from kolors_course.cli.options import add_json, write_json
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
from kolors_course.platform.device import limit_threads, pick_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", type=Path, help="base model, a folder in diffusers layout")
    parser.add_argument("tuned", type=Path, help="tuned model, likewise")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--rank", type=int, default=16, help="rank of the LoRA (default %(default)s)")
    parser.add_argument(
        "--lora_target_modules",
        metavar="NAMES",
        help="only these layers, such as to_q,to_k,to_v,to_out (default: all that changed)",
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    add_json(parser)


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
    write_lora(arguments.output, LoraFile(arguments.output, result.state, result.settings, report))
    write_json(arguments.json, report | {"energy_by_layer": result.energy, "left_out": result.left_out})
    worst = min(result.energy, key=result.energy.get)
    print(
        f"wrote {arguments.output}: {len(result.energy)} layers of rank {arguments.rank}, "
        f"{result.total_energy:.2%} of the squared change kept (least: {result.energy[worst]:.2%} in {worst})"
    )
    if result.left_out:
        print(f"{len(result.left_out)} changed tensors are not in it (first: {result.left_out[0]})")
    return 0
