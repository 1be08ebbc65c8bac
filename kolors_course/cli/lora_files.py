"""What the commands on LoRA files share: finding the U-Net that a file belongs to."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from torch import nn

from kolors_course.errors import CourseError
from kolors_course.kolors import current_profile
from kolors_course.kolors.skeleton import kolors_skeleton, unet_skeleton
from kolors_course.lora import LoraFile, check_fit
from kolors_course.lora.files import OpenedLora, open_lora, settle_alpha

T = TypeVar("T")


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="base model in diffusers layout, of which only unet/config.json is read (default: that of "
        "KOLORS_PROFILE, or full Kolors, whichever has the layers of the file)",
    )


def add_alpha(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alpha",
        type=float,
        help="alpha of training, for a file that does not say it; the camp's command used --lora_alpha 4.0",
    )


def first_that_fits(model: str | None, attempt: Callable[[nn.Module], T]) -> T:
    """What `attempt` returns for the first U-Net without weights for which it raises no CourseError.

    Raises:
        CourseError: it raised one for each; that of the first is passed on.
    """
    errors: list[CourseError] = []
    for unet in _skeletons(model):
        try:
            return attempt(unet)
        except CourseError as error:
            errors.append(error)
    raise errors[0]


def read_fitting(
    path: str | Path, model: str | None, alpha: float | None = None
) -> tuple[LoraFile, nn.Module]:
    """A LoRA file and the U-Net, without weights, that has exactly its layers and shapes.

    Raises:
        CourseError: see `read_lora` and `check_fit`.
    """

    def attempt(unet: nn.Module) -> tuple[OpenedLora, nn.Module]:
        opened = open_lora(path, unet)
        # Names and shapes tell the U-Net; an alpha that is not known yet has no part in it.
        check_fit(unet, settle_alpha(opened, 1.0 if opened.alpha is None else None))
        return opened, unet

    opened, unet = first_that_fits(model, attempt)
    return settle_alpha(opened, alpha), unet


def _skeletons(model: str | None) -> Iterator[nn.Module]:
    if model:
        yield unet_skeleton(model)
        return
    folder = current_profile().folder
    if folder.is_dir():
        yield unet_skeleton(folder)
    yield kolors_skeleton()
