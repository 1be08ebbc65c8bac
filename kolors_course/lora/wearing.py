"""Putting on several LoRAs at once and taking all off again, and telling their files apart."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from diffusers import UNet2DConditionModel
from torch import nn

from kolors_course.errors import CourseError
from kolors_course.lora.loading import load_lora, unload_lora


def wear_loras(
    unet: UNet2DConditionModel, text_encoder: nn.Module, loras: Iterable[tuple[Path, float]]
) -> None:
    """Take all LoRAs off, and put these on, each with its strength.

    Raises:
        CourseError: see `load_lora`.
    """
    unload_lora(unet)
    unload_lora(text_encoder)
    for path, strength in loras:
        load_lora(unet, path, strength, text_encoder=text_encoder)


def hash_of_lora(path: Path) -> str:
    """SHA-256 of a LoRA file.

    Raises:
        CourseError: it cannot be read.
    """
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CourseError(f"no LoRA file {path} can be read: {error.strerror or error}") from error
