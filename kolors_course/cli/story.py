"""Draw a storyboard (YAML) as a page of captioned pictures, in a LoRA's style and beside the base model's row.

kolors-course story data/stories/moon_rabbit.yaml --lora data/loras/pixel.safetensors -o outputs/story
"""

import argparse
from pathlib import Path

from kolors_course.cli import options
from kolors_course.files import ensure_folder
from kolors_course.kolors.generate import check_size
from kolors_course.lora import parse_lora_argument, unload_lora
from kolors_course.story import draw_story, lay_out_page, read_storyboard, story_page, write_story


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("storyboard", type=Path, help="YAML file with titles and panels")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("outputs/story"), help="default %(default)s"
    )
    parser.add_argument("--size", metavar="WxH", help="panel size (default: the model's own)")
    options.add_sampling(parser)
    options.add_lora(parser)
    options.add_model(parser)


def run(arguments: argparse.Namespace) -> int:
    storyboard = read_storyboard(arguments.storyboard)
    sampling = options.sampling_of(arguments)
    loras = [parse_lora_argument(text) for text in arguments.lora]
    footer = " + ".join(f"{path.name} × {strength:g}" for path, strength in loras)
    lay_out_page(storyboard, footer=footer)  # finds missing fonts and characters before anything is drawn
    model = options.model_of(arguments)
    check_size(model, sampling)
    folder = ensure_folder(arguments.output)
    count = len(storyboard.panels)
    panels = draw_story(model, storyboard, sampling, options.picture_progress(count, "story"))
    base = None
    if loras:
        unload_lora(model.unet)
        unload_lora(model.text_encoder)
        base = draw_story(model, storyboard, sampling, options.picture_progress(count, "base model"))
    page = story_page(storyboard, panels, base, footer=footer)
    write_story(folder, storyboard, panels, base, page, sampling, model=model.name, loras=loras)
    print(f"wrote {folder / 'story.png'}")
    return 0
