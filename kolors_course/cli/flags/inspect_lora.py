"""Look into a LoRA file of any program: rank, alpha, scale, layers, size of its changes, and where it works.

    kolors-course inspect-lora data/loras/pixel.safetensors
    kolors-course inspect-lora "epoch=0-step=500.ckpt" --alpha 4

‖ΔW‖ is the Frobenius norm of scale · B A over the layers of a block: where the LoRA changes the model most. Where the
scale is not known, and of a DoRA, whose ΔW depends on the base weights too, ‖B A‖ stands instead. At the end stands
for each program whether it applies the LoRA at the strength it was trained at: yes (where it matters, from which
version on, and what older ones do); no; or after a number has been set by hand. Measured with diffusers 0.30 to 0.42
and ComfyUI 0.3.75 (benchmarks/lora_programs.json).
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lora", type=Path, help="the file: .safetensors, .ckpt, .bin or .pt")
    shared.add_alpha(parser)
    shared.add_unet(parser)
    shared.add_json(parser)
