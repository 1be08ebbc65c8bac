"""Draw a storyboard (YAML) as a page of captioned pictures, in a LoRA's style and beside the base model's row.

kolors-course story data/stories/moon_rabbit.yaml --lora data/loras/pixel.safetensors -o outputs/story
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("storyboard", type=Path, help="YAML file with titles and panels")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("outputs/story"), help="default %(default)s"
    )
    parser.add_argument("--size", metavar="WxH", help="panel size (default: the model's own)")
    shared.add_sampling(parser)
    shared.add_lora(parser)
    shared.add_model(parser)
