"""`kolors-course bundle`: what it does once its flags are read."""

import argparse
import math
from pathlib import Path

from kolors_course.cli import options
from kolors_course.errors import CourseError
from kolors_course.files import ensure_folder, read_text
from kolors_course.kolors import KolorsModel, Sampling, current_profile
from kolors_course.kolors.sampling import check_drawing
from kolors_course.lora import parse_lora_argument
from kolors_course.platform.paths import data_dir
from kolors_course.story import draw_story, read_storyboard, story_sheets
from kolors_course.story.bundle import (
    MAX_LICENCE,
    BundlePicture,
    Manifest,
    bundle_faults,
    bundle_name,
    bundle_sampling,
    check_bundle_parts,
    drawn_differently,
    licence_kind,
    read_manifest,
    write_bundle,
)
from kolors_course.story.layouts import story_font
from kolors_course.story.storyboard import Storyboard

NEEDED = ("storyboard", "output", "team", "number", "about")


def run(arguments: argparse.Namespace) -> int:
    if arguments.check:
        if arguments.storyboard or arguments.lora:
            raise CourseError("--check takes a bundle alone; leave the storyboard and --lora out")
        return _check(arguments)
    return _make(arguments)


def _make(arguments: argparse.Namespace) -> int:
    if missing := [name for name in NEEDED if not getattr(arguments, name)]:
        raise CourseError(f"{', '.join(missing)} missing; a bundle needs {', '.join(NEEDED)} and one --lora")
    if len(arguments.lora) != 1:
        raise CourseError(f"a bundle hands in one LoRA, not {len(arguments.lora)}; give one --lora")
    if arguments.aesthetic is not None and not math.isfinite(arguments.aesthetic):
        raise CourseError(f"--aesthetic must be a finite number, not {arguments.aesthetic}")
    name = bundle_name(arguments.team, arguments.number)
    lora, strength = parse_lora_argument(arguments.lora[0])
    storyboard = read_storyboard(arguments.storyboard)
    licence = _licence(arguments)
    check_bundle_parts(storyboard, lora, licence)
    if arguments.output.is_dir() and any(arguments.output.iterdir()):
        raise CourseError(
            f"{arguments.output} is not empty; give a new folder, so that nothing else is handed in"
        )
    story_font(storyboard, name)
    sampling = options.sampling_of(arguments)
    model = options.model_of(arguments)
    size = check_drawing(model, sampling, len(storyboard.panels))
    panels = draw_story(
        model, storyboard, sampling, options.picture_progress(len(storyboard.panels), "bundle")
    )
    manifest = Manifest(
        name=name,
        about=" ".join(arguments.about.split()),
        model=_model_name(arguments, model),
        licence=licence_kind(licence),
        lora=f"{name}.safetensors",
        strength=strength,
        sampling={**sampling.said, "size": size},
        pictures=_pictures(storyboard, sampling),
        files={},
        aesthetic=arguments.aesthetic,
    )
    (page,) = story_sheets("comic", storyboard, panels, footer=name)
    written = write_bundle(ensure_folder(arguments.output), manifest, panels, page, lora, licence)
    print(f"wrote {written.parent}: {len(panels)} pictures, {manifest.lora}, licence {manifest.licence}")
    return 0


def _model_name(arguments: argparse.Namespace, model: KolorsModel) -> str:
    return (
        {"mini": "Kolors-mini", "kolors": "Kwai-Kolors/Kolors"}[current_profile().name]
        if not arguments.model
        else model.name
    )


def _pictures(storyboard: Storyboard, sampling: Sampling) -> tuple[BundlePicture, ...]:
    negatives = storyboard.negative_prompts(sampling.negative_prompt)
    return tuple(
        BundlePicture(
            f"pictures/{number:02d}.png",
            panel.prompt,
            negative,
            panel.seed,
            panel.caption_zh,
            panel.caption_en,
        )
        for number, (panel, negative) in enumerate(zip(storyboard.panels, negatives, strict=True), start=1)
    )


def _licence(arguments: argparse.Namespace) -> str:
    """The licence of the base model.

    Raises:
        CourseError: it is nowhere.
    """
    folder = Path(arguments.model) if arguments.model else current_profile().present_folder()
    places = [folder / "MODEL_LICENSE", folder / "LICENSE"]
    if not arguments.model and current_profile().name == "mini":
        places.append(data_dir().parent / "LICENSE")
    path = arguments.licence or next((place for place in places if place.is_file()), None)
    if path is None:
        raise CourseError(
            f"{folder} holds no MODEL_LICENSE; get it from the model's page and give it as --licence"
        )
    return read_text(path, MAX_LICENCE, "the text of the base model's licence")


def _check(arguments: argparse.Namespace) -> int:
    manifest = read_manifest(arguments.check)
    faults = bundle_faults(arguments.check, manifest)
    if not faults:
        bundle_sampling(manifest)
        arguments.lora = [f"{arguments.check / manifest.lora}:{manifest.strength:g}"]
        faults = drawn_differently(options.model_of(arguments), arguments.check, manifest)
    if faults:
        print("\n".join(faults))
        raise CourseError(f"{arguments.check}: {len(faults)} faults, listed above")
    print(f"{arguments.check}: complete, and {len(manifest.pictures)} pictures drawn again are the same")
    return 0
