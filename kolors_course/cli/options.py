"""From flags that several commands share to what they mean, and what commands print and write alike."""

import argparse
import json
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors import KolorsModel, Sampling, current_profile, load_model, load_profile
from kolors_course.lora import load_lora, parse_lora_argument
from kolors_course.platform.device import limit_threads, pick_device


def parse_size(text: str) -> tuple[int, int]:
    """ "64x64" -> (64, 64), width first.

    Raises:
        CourseError: it is not two whole numbers.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise CourseError(f"size '{text}': write width x height in pixels, such as 64x64")
    return int(parts[0]), int(parts[1])


def sampling_of(arguments: argparse.Namespace) -> Sampling:
    return Sampling(
        steps=arguments.steps,
        guidance_scale=arguments.guidance,
        sampler=arguments.sampler,
        spacing=arguments.spacing,
        size=parse_size(arguments.size) if getattr(arguments, "size", None) else None,
        negative_prompt=getattr(arguments, "negative", ""),
        denoise=getattr(arguments, "denoise", 1.0),
        batch_size=arguments.batch_size,
    )


def model_of(arguments: argparse.Namespace) -> KolorsModel:
    """Load --model (or the profile's) with every --lora, telling what was applied."""
    limit_threads()
    profile = current_profile()
    loras = [parse_lora_argument(text) for text in getattr(arguments, "lora", [])]
    if arguments.model:
        model = load_model(arguments.model, pick_device(arguments.device), profile.dtype)
    else:
        model = load_profile(profile, arguments.device)
    for path, strength in loras:
        report = load_lora(model.unet, path, strength, text_encoder=model.text_encoder)
        print(f"LoRA {path}: {report.matched} of {report.expected} tensors, strength {strength:g}")
    return model


def picture_progress(total: int, description: str):
    """A progress bar and the callback that moves it."""
    bar = tqdm(total=total, desc=description, unit="picture", disable=None)

    def advance(done: int) -> None:
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return advance


def write_json(path: Path | None, report: dict[str, Any]) -> None:
    if path:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
