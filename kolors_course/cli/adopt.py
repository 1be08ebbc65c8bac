"""`kolors-course sweep --recommend --adopt`: what was found is put in force, for the model or for its LoRA."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kolors_course.errors import CourseError
from kolors_course.files import check_output
from kolors_course.kolors import Sampling, current_profile, diffusers_layout, write_sampling
from kolors_course.kolors.settings import SAMPLING_FILE
from kolors_course.lora import parse_lora_argument, write_wish


def check_adoption(arguments: argparse.Namespace) -> None:
    """Refuse --adopt before any work where there is nothing, or no one thing, that could adopt.

    Raises:
        CourseError: it does not go with the other flags, or the file cannot be written.
    """
    if not arguments.adopt:
        return
    if not arguments.recommend:
        raise CourseError("--adopt belongs to --recommend; give that too")
    if len(arguments.lora) > 1:
        raise CourseError(
            "--adopt writes into one LoRA, or into the model where none is given; give --lora once at most"
        )
    lora = _lora(arguments)
    if lora and lora.suffix.lower() != ".safetensors":
        raise CourseError(
            f"--adopt: {lora} has no place for it; convert it to .safetensors first (kolors-course convert-lora)"
        )
    check_output(lora or _folder(arguments) / SAMPLING_FILE)


def adopt(arguments: argparse.Namespace, report: Mapping[str, Any]) -> str:
    """Write what a recommendation says into sampling.json of the model, or into the metadata of its one LoRA.

    Args:
        report: see `write_recommendation`.

    Returns:
        What to print.

    Raises:
        CourseError: it cannot be written.
    """
    made_by = {"command": report["command"], "commit": report["made_by"]["commit"]}
    sampling = recommended_sampling(report)
    if lora := _lora(arguments):
        write_wish(lora, sampling, made_by)
        return f"adopted: {lora} is drawn so from now on"
    return f"adopted: wrote {write_sampling(_folder(arguments), sampling, made_by)}"


def recommended_sampling(report: Mapping[str, Any]) -> Sampling:
    """What a recommendation.json recommends."""
    row = report["recommended"]
    return Sampling(row["steps"], row["guidance"], row["sampler"], row["spacing"])


def _lora(arguments: argparse.Namespace) -> Path | None:
    return parse_lora_argument(arguments.lora[0])[0] if arguments.lora else None


def _folder(arguments: argparse.Namespace) -> Path:
    folder = Path(arguments.model or current_profile().present_folder())
    diffusers_layout(folder)  # sampling.json is read from nowhere else
    return folder
