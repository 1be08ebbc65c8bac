"""`kolors-course story`: what it does once its flags are read."""

import argparse

from kolors_course.cli import options
from kolors_course.files import ensure_folder
from kolors_course.kolors.sampling import check_size
from kolors_course.lora import parse_lora_argument, unload_lora
from kolors_course.story import draw_story, lay_out_page, read_storyboard, story_page, write_story


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
