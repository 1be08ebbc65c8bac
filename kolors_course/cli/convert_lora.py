"""`kolors-course convert-lora`: what it does once its flags are read."""

import argparse

from kolors_course.cli import lora_files
from kolors_course.lora import write_lora
from kolors_course.lora.layouts import kohya_form


def run(arguments: argparse.Namespace) -> int:
    lora, unet = lora_files.read_fitting(arguments.lora, arguments.model, arguments.alpha)
    lora_files.warn_of_family(lora)
    write_lora(arguments.output, lora, arguments.to, unet)
    settings = lora.settings
    print(
        f"wrote {arguments.output}: {arguments.to}, {len(lora.state_dict)} tensors, rank {settings.rank}, "
        f"alpha {settings.alpha:g}, scale {settings.scale:g}"
    )
    if arguments.to == "kohya" and not kohya_form(settings.kind).keeps_alpha:
        print("programs read the alpha of this kind differently: the scale is multiplied into the tensors")
    if arguments.to == "diffsynth" and lora.foreign:
        print("this layout cannot hold what the file says of itself (title, licence, trigger words, ...)")
    if arguments.to == "diffsynth":
        print(
            f"this layout cannot hold alpha: give {settings.plain_alpha:g} to whoever reads the file, "
            f"and lora_alpha={settings.scale:g} to DiffSynth-Studio's load_lora, where it is the whole scale"
        )
    return 0
