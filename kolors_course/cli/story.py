"""`kolors-course story`: what it does once its flags are read."""

import argparse
from collections.abc import Callable

from PIL import Image

from kolors_course.cli import options
from kolors_course.cli.tokens import token_counter
from kolors_course.errors import CourseError
from kolors_course.files import ensure_folder
from kolors_course.kolors import KolorsModel, Sampling
from kolors_course.kolors.sampling import check_drawing, check_size
from kolors_course.lora import parse_lora_argument, unload_lora
from kolors_course.prompting import texts_of
from kolors_course.story import (
    draw_story,
    lay_out_page,
    read_answer,
    read_storyboard,
    story_request,
    story_sheets,
    write_story,
)
from kolors_course.story.layouts import story_font
from kolors_course.story.page import PAGE_WIDTH
from kolors_course.story.storyboard import Storyboard


def run(arguments: argparse.Namespace) -> int:
    asked = [arguments.storyboard, arguments.request, arguments.check]
    if sum(each is not None for each in asked) != 1:
        raise CourseError("give one of these: a storyboard to draw, --request, --check")
    if arguments.topic and not arguments.request:
        raise CourseError("--topic goes with --request")
    if arguments.request:
        print(story_request(arguments.request, arguments.topic), end="")
        return 0
    return _check(arguments) if arguments.check else _draw(arguments)


def _check(arguments: argparse.Namespace) -> int:
    answer = read_answer(arguments.check, prompt_counter(token_counter(arguments.model, "prompts")))
    if answer.storyboard is None:
        print("\n".join(answer.faults))
        raise CourseError(
            f"{arguments.check}: {len(answer.faults)} faults, listed above; paste them to the model"
        )
    print(f"{arguments.check}: a good storyboard of {len(answer.storyboard.panels)} pictures")
    if arguments.check.suffix.lower() != ".json":
        print("name the file .json to draw it")
    return 0


def prompt_counter(count: Callable[[str], int] | None) -> Callable[[str], int] | None:
    """The most tokens that a prompt takes at any step, without its weights."""
    if count is None:
        return None
    return lambda prompt: max(map(count, texts_of(prompt)))


def _draw(arguments: argparse.Namespace) -> int:
    storyboard = read_storyboard(arguments.storyboard)
    sampling = options.sampling_of(arguments)
    loras = [parse_lora_argument(text) for text in arguments.lora]
    footer = " + ".join(f"{path.name} × {strength:g}" for path, strength in loras)
    story_font(storyboard, footer)  # finds missing fonts and characters before anything is drawn
    model = options.model_of(arguments)
    count = len(storyboard.panels)
    with_base = bool(loras) and arguments.layout == "grid"
    width, height = check_size(model, sampling)
    layout = lay_out_page(storyboard, height / width, with_base, footer=footer)
    check_drawing(model, sampling, 2 * count, 3 * PAGE_WIDTH * layout.bottom)  # the base model's row too
    options.tell_unknown_words(model, arguments, [panel.prompt for panel in storyboard.panels])
    folder = ensure_folder(arguments.output)
    if sampling.guidance_scale <= 1 and any(storyboard.negative_prompts()):
        print(
            f"the storyboard's negative prompts have no effect at a guidance of {sampling.guidance_scale:g}"
        )
    panels = draw_story(model, storyboard, sampling, options.picture_progress(count, "story"))
    base = _base_panels(model, storyboard, sampling) if with_base else None
    sheets = story_sheets(arguments.layout, storyboard, panels, base, footer)
    written = write_story(
        folder,
        storyboard,
        panels,
        base,
        sheets,
        sampling,
        model=model.name,
        loras=loras,
        layout=arguments.layout,
    )
    print(f"wrote {written}")
    return 0


def _base_panels(model: KolorsModel, storyboard: Storyboard, sampling: Sampling) -> list[Image.Image]:
    unload_lora(model.unet)
    unload_lora(model.text_encoder)
    progress = options.picture_progress(len(storyboard.panels), "base model")
    return draw_story(model, storyboard, sampling, progress)
