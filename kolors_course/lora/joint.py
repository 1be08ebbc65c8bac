"""A LoRA of U-Net and text encoder together: their tensors in one table, and which layers of ChatGLM it adapts."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from kolors_course.lora.config import LoraSettings

TEXT_PREFIX = "text_encoder."  # before the names of the text encoder's tensors; the U-Net's have none
TEXT_TARGETS = ("query_key_value",)  # ChatGLM's one layer for queries, keys and values, in each of its blocks


def text_settings(settings: LoraSettings) -> LoraSettings:
    """The settings of the text encoder's part: the U-Net's, on `TEXT_TARGETS`."""
    return replace(settings, target_modules=TEXT_TARGETS)


def join_parts(unet: Mapping[str, Tensor], text_encoder: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Both parts in one table."""
    return {**unet, **{TEXT_PREFIX + name: tensor for name, tensor in text_encoder.items()}}


def split_parts(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What `join_parts` joined: the U-Net's part and the text encoder's, which may be empty."""
    text = {
        name.removeprefix(TEXT_PREFIX): tensor
        for name, tensor in state.items()
        if name.startswith(TEXT_PREFIX)
    }
    return {name: t for name, t in state.items() if not name.startswith(TEXT_PREFIX)}, text
