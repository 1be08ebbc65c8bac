"""`kolors-course demo`: what it does once its flags are read."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from kolors_course.art import STYLE_ZH, style_test_subjects
from kolors_course.cli import options
from kolors_course.cli.demo_rows import StoryRow, StoryRowWork, base_folder, read_base
from kolors_course.cli.reports import write_json
from kolors_course.dataset import check_dataset
from kolors_course.errors import CourseError
from kolors_course.evaluation import Scores, held_out_prompts, load_probe, score_table
from kolors_course.files import ensure_folder
from kolors_course.kolors import KolorsModel, current_profile, load_profile
from kolors_course.lora import LoraSettings, load_lora, unload_lora
from kolors_course.lora.choices import TARGETS
from kolors_course.platform.device import limit_threads
from kolors_course.platform.paths import data_dir
from kolors_course.story import Storyboard, lay_out_page, read_storyboard, story_page, write_story
from kolors_course.training.lora import LoraResult, LoraTraining, RunOptions, train_lora
from kolors_course.training.sample_prompts import SamplePrompt

SETTINGS = LoraSettings(16, 16.0, TARGETS["attention+feed-forward+convolutions"], init="kaiming")


def _base(work: StoryRowWork, folder: Path) -> StoryRow:
    """The row without a LoRA: that which is kept, where it is of this very model."""
    if kept := read_base(folder, work.key, len(work.storyboard.panels)):
        print(f"base model: its row and its scores are those of {folder.name}, made by this model before")
        return kept
    return _made(work, "base story", "measuring base")


def _made(work: StoryRowWork, drawing: str, measuring: str) -> StoryRow:
    """A row as the model draws it now, with two bars."""
    return work.make(
        options.picture_progress(len(work.storyboard.panels), drawing),
        options.picture_progress(len(work.prompts), measuring),
    )


def _summary(before: Scores, after: Scores, style: str) -> str:
    kept = after.accuracy["subject"] / before.accuracy["subject"] if before.accuracy["subject"] else 0.0
    return (
        f"style {style} {before.style:.0%} → {after.style:.0%} · "
        f"subject {before.accuracy['subject']:.0%} → {after.accuracy['subject']:.0%} ({kept:.0%} kept) · "
        f"{after.prompts} prompts on subjects never seen in this style"
    )


def _recipe(steps: int, storyboard: Storyboard) -> LoraTraining:
    prompts = tuple(SamplePrompt(panel.prompt) for panel in storyboard.panels)
    return LoraTraining(steps=steps, settings=SETTINGS, sample_prompts=prompts, sample_every=100)


def _check_data(dataset: Path) -> None:
    report = check_dataset(dataset, training_size=(current_profile("mini").size,) * 2)
    print("\n".join(report.lines()))
    if not report.ok:
        raise CourseError(f"{dataset} has faults; restore it with: git checkout {dataset}")


def row_work(model: KolorsModel, storyboard: Storyboard, scenes: int) -> StoryRowWork:
    """What a row of the demo is made of: the story, and prompts for subjects that no style LoRA has seen."""
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    prompts = tuple(held_out_prompts(scenes, style_test_subjects()))
    return StoryRowWork(model, probe, storyboard, prompts, replace(model.sampling, batch_size=16))


def _train(model: KolorsModel, dataset: Path, folder: Path, recipe: LoraTraining, command: str) -> LoraResult:
    # With a cache, as train-lora has one: its config.yaml then repeats the LoRA to the last bit.
    cached = RunOptions(cache_folder=folder / "cache")
    return train_lora(model, dataset, folder, recipe, command=command, overwrite=True, options=cached)


def run(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    limit_threads()
    style, style_name = arguments.style, (STYLE_ZH[arguments.style], arguments.style)
    story = data_dir() / "stories" / "moon_rabbit.yaml"
    storyboard = read_storyboard(story)
    recipe = _recipe(arguments.steps, storyboard)
    lay_out_page(storyboard, style_name=style_name)  # finds missing fonts before any work is done
    dataset, folder = data_dir() / "datasets" / style, ensure_folder(arguments.output)
    _check_data(dataset)

    model = load_profile(current_profile("mini"), arguments.device)
    work = row_work(model, storyboard, arguments.scenes)
    base = _base(work, base_folder(story))
    lora = _train(model, dataset, folder / "lora", recipe, arguments.command_line)
    load_lora(model.unet, lora.path)
    styled = _made(work, "styled story", "measuring LoRA")
    unload_lora(model.unet)

    before, after = base.scores[style], styled.scores[style]
    summary, scores = _summary(before, after, style), {"before": before.to_dict(), "after": after.to_dict()}
    page = story_page(storyboard, styled.panels, base.panels, style_name=style_name, footer=summary)
    write_story(
        *(folder, storyboard, styled.panels, base.panels, page, work.sampling),
        model=model.name,
        loras=[(lora.path, 1.0)],
        scores=scores,
    )
    write_json(arguments.json, {"style": style, **scores})
    print("\n".join(score_table({"base model": before, f"with {style} LoRA": after})))
    print(summary)
    print(f"wrote {folder / 'story.png'} in {time.monotonic() - started:.0f} seconds")
    return 0
