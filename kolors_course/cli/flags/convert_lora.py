"""Write a LoRA file in the layout of another program. Tensors keep every bit; rank and alpha stay what they are.

    kolors-course convert-lora "epoch=0-step=500.ckpt" ink.safetensors --to kohya --alpha 4
    kolors-course convert-lora downloaded.safetensors ink.safetensors --to diffusers

  diffusers   for this course and diffusers' KolorsPipeline
  kohya       for ComfyUI, and for KolorsPipeline too
  diffsynth   a .ckpt for DiffSynth-Studio 1.x and the camp's notebooks; it cannot hold alpha

All three are read, and so are kohya files with Stability's block names and the older layouts of diffusers and peft.
An alpha that the file does not say is asked for: a wrong one changes the strength in silence.
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared
from kolors_course.lora.choices import WRITABLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lora", type=Path, help="the file to read: .safetensors, .ckpt, .bin or .pt")
    parser.add_argument("output", type=Path, help="the file to write: .safetensors, or .ckpt for diffsynth")
    parser.add_argument("--to", required=True, choices=WRITABLE, help="layout to write")
    shared.add_alpha(parser)
    shared.add_unet(parser)
