"""Networks without their weights: names and shapes of their layers, on torch's meta device."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel
from torch import nn

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError, brief
from kolors_course.kolors.configs import KOLORS_MINI_UNET, KOLORS_TEXT_ENCODER, KOLORS_UNET, KOLORS_VAE
from kolors_course.kolors.layouts import diffusers_layout, read_model_config
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.parts import LOAD_ERRORS, Network


def kolors_vae_skeleton() -> AutoencoderKL:
    """The VAE of full Kolors."""
    with torch.device("meta"):
        return AutoencoderKL(**KOLORS_VAE)


def kolors_text_encoder_skeleton() -> ChatGLMModel:
    """The ChatGLM of full Kolors."""
    with torch.device("meta"):
        return ChatGLMModel(ChatGLMConfig(**KOLORS_TEXT_ENCODER), empty_init=False)


def kolors_skeleton() -> UNet2DConditionModel:
    """The U-Net of full Kolors; needs no download and no memory."""
    with torch.device("meta"):
        return UNet2DConditionModel(**KOLORS_UNET)


def kolors_mini_skeleton() -> UNet2DConditionModel:
    """The U-Net of Kolors-mini; needs none of the course's data."""
    with torch.device("meta"):
        return UNet2DConditionModel(**KOLORS_MINI_UNET)


def full_kolors(dtype: torch.dtype) -> KolorsModel:
    """Full Kolors as it would be loaded in `dtype`, without weights and tokenizer."""
    parts = (kolors_skeleton(), kolors_vae_skeleton(), kolors_text_encoder_skeleton())
    for part in parts:
        nn.Module.to(part, dtype)
    return KolorsModel(*parts, None, NoiseSchedule.kolors(), "Kolors")


def skeleton_of(network: Network) -> Any:
    """A U-Net, VAE or text encoder like `network`, in evaluation mode and without weights."""
    with torch.device("meta"):
        if isinstance(network, ChatGLMModel):
            copy = type(network)(network.config, empty_init=False)
        else:
            copy = type(network).from_config(network.config)
    nn.Module.to(copy, network.dtype)
    return copy.eval().requires_grad_(False)


def unet_skeleton(folder: str | Path) -> UNet2DConditionModel:
    """The U-Net that `folder`, a model in diffusers layout, describes in unet/config.json.

    Raises:
        CourseError: there is no such model, or its config.json is missing or damaged.
    """
    unet = diffusers_layout(folder).unet
    config = read_model_config(unet)
    try:
        with torch.device("meta"):
            return UNet2DConditionModel.from_config(config)
    except LOAD_ERRORS as error:
        raise CourseError(
            f"{unet / 'config.json'} does not describe a U-Net ({brief(str(error), 160)}); "
            "copy or download it again"
        ) from error
