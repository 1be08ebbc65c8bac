"""One call of the U-Net: what it is told besides the noisy latents, and the noise it predicts.

Sampling and training call the network here and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kolors_course.kolors.control import Residuals
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds


def time_ids(height: int, width: int) -> Tensor:
    """(6,) micro-conditioning of an uncropped picture: original size, crop corner, target size
    (arXiv 2307.01952, section 2.2)."""
    return torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)


def unet_noise(
    model: KolorsModel,
    sample: Tensor,
    timestep: Tensor,
    conditioning: Mapping[str, Tensor],
    text_memory: dict[Any, Any] | None = None,
    residuals: Residuals | None = None,
) -> Tensor:
    """One call of the U-Net: predicted noise (B, C, h, w).

    Args:
        conditioning: see `conditioning_of`; for a U-Net made for inpainting also "hole", see `Hole.channels`.
        text_memory: see `TextBiasAttnProcessor`; one for each conditioning that is used more than once.
        residuals: what ControlNets add.
    """
    if "hole" in conditioning:
        sample = torch.cat([sample, conditioning["hole"]], dim=1)
    return model.unet(
        sample,
        timestep,
        encoder_hidden_states=conditioning["prompt_embeds"],
        added_cond_kwargs={
            "text_embeds": conditioning["pooled_prompt_embeds"],
            "time_ids": conditioning["add_time_ids"],
        },
        cross_attention_kwargs={"text_bias": conditioning["text_bias"], "text_memory": text_memory},
        down_block_additional_residuals=residuals.down if residuals else None,
        mid_block_additional_residual=residuals.mid if residuals else None,
        return_dict=False,
    )[0]


def conditioning_of(prompts: PromptEmbeds, add_time_ids: Tensor) -> dict[str, Tensor]:
    """The tensors that `unet_noise` takes, by name."""
    return {
        "prompt_embeds": prompts.prompt_embeds,
        "pooled_prompt_embeds": prompts.pooled_prompt_embeds,
        "text_bias": prompts.text_bias,
        "add_time_ids": add_time_ids,
    }
