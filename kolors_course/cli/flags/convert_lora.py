"""Write a LoRA file in the layout of another program. Tensors of a LoRA keep every bit; rank and alpha stay.

    kolors-course convert-lora "epoch=0-step=500.ckpt" ink.safetensors --to kohya --alpha 4
    kolors-course convert-lora downloaded.safetensors ink.safetensors --to diffusers

  diffusers   for this course and diffusers' KolorsPipeline
  kohya       for ComfyUI, and for KolorsPipeline too
  diffsynth   a .ckpt for DiffSynth-Studio 1.x and the camp's notebooks; it cannot hold alpha

All three are read, and so are the names of ComfyUI, LyCORIS, Stability, peft and older diffusers. Layers of several
ranks are filled up with zeros to one. What the file says of itself (title, licence, trigger words) is kept. Of a LoKr
or LoHa, the scale is multiplied into the tensors for kohya, because programs read its alpha in different ways.

An alpha that the file does not say is asked for: a wrong one changes the strength in silence.
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.outputs import output_file
from kolors_course.lora.choices import WRITABLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lora", type=Path, help="the file to read: .safetensors, .ckpt, .bin or .pt")
    parser.add_argument(
        "output",
        type=output_file(".safetensors", ".ckpt"),
        help="the file to write: .safetensors, or .ckpt for diffsynth",
    )
    parser.add_argument("--to", required=True, choices=WRITABLE, help="layout to write")
    shared.add_alpha(parser)
    shared.add_unet(parser)
