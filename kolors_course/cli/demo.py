"""The main job, end to end: check a data set, train a style LoRA, draw an eight-picture story before and after.

    kolors-course demo                  # 像素 pixel, about four minutes on two cores
    kolors-course demo --style ink

Writes OUTPUT/story.png and prints what the probe network measures on subjects the LoRA has never seen in its style.
"""

import argparse
import time
from pathlib import Path

from kolors_course.art import STYLE_ZH, style_test_subjects
from kolors_course.cli import options
from kolors_course.dataset import check_dataset
from kolors_course.errors import CourseError
from kolors_course.evaluation import Scores, evaluate, held_out_prompts, load_probe, score_table
from kolors_course.files import ensure_folder
from kolors_course.kolors import KolorsModel, Sampling, current_profile, load_profile
from kolors_course.lora import ATTENTION_TARGETS, LoraSettings, load_lora, unload_lora
from kolors_course.platform.device import limit_threads
from kolors_course.platform.paths import data_dir
from kolors_course.story import Storyboard, draw_story, lay_out_page, read_storyboard, story_page, write_story
from kolors_course.training.lora import LoraTraining, train_lora

STYLES_WITH_DATA = ("pixel", "paper-cut", "ink")
# Kolors-mini draws fine detail in its convolutions, above the levels that have attention; a style needs them.
TARGETS = (
    *ATTENTION_TARGETS,
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "conv_shortcut",
    "conv_in",
    "conv_out",
)
SETTINGS = LoraSettings(rank=16, alpha=16.0, target_modules=TARGETS, init="kaiming")
GUIDANCE_SCALE = 6.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--style", default="pixel", choices=STYLES_WITH_DATA, help="default %(default)s")
    parser.add_argument("--steps", type=int, default=350, help="training steps (default %(default)s)")
    parser.add_argument(
        "--scenes", type=int, default=40, help="held-out scenes to measure on (default %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("outputs/story"), help="default %(default)s"
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    options.add_json(parser)


def _panels_and_scores(
    model: KolorsModel, storyboard: Storyboard, sampling: Sampling, style: str, scenes: int, name: str
) -> tuple[list, Scores]:
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    panels = draw_story(model, storyboard, sampling, options.picture_progress(len(storyboard.panels), name))
    prompts = held_out_prompts(scenes, style_test_subjects())
    advance = options.picture_progress(len(prompts), "measuring")
    return panels, evaluate(model, probe, prompts, sampling, advance).scores(style)


def _summary(before: Scores, after: Scores, style: str) -> str:
    kept = after.accuracy["subject"] / before.accuracy["subject"] if before.accuracy["subject"] else 0.0
    return (
        f"style {style} {before.style:.0%} → {after.style:.0%} · "
        f"subject {before.accuracy['subject']:.0%} → {after.accuracy['subject']:.0%} ({kept:.0%} kept) · "
        f"{after.prompts} prompts on subjects never seen in this style"
    )


def run(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    limit_threads()
    folder = ensure_folder(arguments.output)
    dataset = data_dir() / "datasets" / arguments.style
    report = check_dataset(dataset, training_size=(current_profile("mini").size,) * 2)
    print("\n".join(report.lines()))
    if not report.ok:
        raise CourseError(f"{dataset} has faults; restore it with: git checkout {dataset}")
    model = load_profile(current_profile("mini"), arguments.device)
    storyboard = read_storyboard(data_dir() / "stories" / "moon_rabbit.yaml")
    style_name = (STYLE_ZH[arguments.style], arguments.style)
    lay_out_page(storyboard, style_name=style_name)  # finds missing fonts before any work is done
    sampling = Sampling(guidance_scale=GUIDANCE_SCALE, batch_size=16)
    base_panels, before = _panels_and_scores(
        model, storyboard, sampling, arguments.style, arguments.scenes, "base story"
    )
    prompts = tuple(panel.prompt for panel in storyboard.panels)
    recipe = LoraTraining(steps=arguments.steps, settings=SETTINGS, sample_prompts=prompts, sample_every=150)
    result = train_lora(
        model,
        dataset,
        folder / "lora",
        recipe,
        command=f"kolors-course demo --style {arguments.style}",
        overwrite=True,
    )
    load_lora(model.unet, result.path)
    panels, after = _panels_and_scores(
        model, storyboard, sampling, arguments.style, arguments.scenes, "styled story"
    )
    unload_lora(model.unet)
    summary = _summary(before, after, arguments.style)
    page = story_page(
        storyboard,
        panels,
        base_panels,
        style_name=(STYLE_ZH[arguments.style], arguments.style),
        footer=summary,
    )
    scores = {"before": before.to_dict(), "after": after.to_dict()}
    write_story(folder, storyboard, panels, base_panels, page, sampling, scores=scores)
    options.write_json(arguments.json, {"style": arguments.style, **scores})
    print("\n".join(score_table({"base model": before, f"with {arguments.style} LoRA": after})))
    print(summary)
    print(f"wrote {folder / 'story.png'} in {time.monotonic() - started:.0f} seconds")
    return 0
