"""`kolors-course story`: what it does once its flags are read."""

import argparse

from kolors_course.cli import options
from kolors_course.files import ensure_folder
from kolors_course.kolors.sampling import check_drawing, check_size
from kolors_course.lora import parse_lora_argument, unload_lora
from kolors_course.story import draw_story, lay_out_page, read_storyboard, story_page, write_story
from kolors_course.story.page import PAGE_WIDTH


def run(arguments: argparse.Namespace) -> int:
    storyboard = read_storyboard(arguments.storyboard)
    sampling = options.sampling_of(arguments)
    loras = [parse_lora_argument(text) for text in arguments.lora]
    footer = " + ".join(f"{path.name} × {strength:g}" for path, strength in loras)
    lay_out_page(storyboard, footer=footer)  # finds missing fonts and characters before anything is drawn
    model = options.model_of(arguments)
    count = len(storyboard.panels)
    width, height = check_size(model, sampling)
    layout = lay_out_page(storyboard, height / width, bool(loras), footer=footer)
    check_drawing(model, sampling, 2 * count, 3 * PAGE_WIDTH * layout.bottom)  # the base model's row too
    options.tell_unknown_words(model, arguments, [panel.prompt for panel in storyboard.panels])
    folder = ensure_folder(arguments.output)
    if sampling.guidance_scale <= 1 and any(storyboard.negative_prompts()):
        print(
            f"the storyboard's negative prompts have no effect at a guidance of {sampling.guidance_scale:g}"
        )
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
