"""What a model costs: weights, and floating-point operations of one call, part by part.

Operations are counted on torch's meta device, from shapes alone: full Kolors needs neither download nor memory. A
multiplication and the addition after it count as two, as is usual.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kolors_course.kolors.compact import enable_text_bias
from kolors_course.kolors.prompts import MAX_SEQUENCE_LENGTH
from kolors_course.kolors.skeleton import skeleton_of
from kolors_course.libraries import numbers


@dataclass(frozen=True)
class Cost:
    """What one part of a model costs: weights and operations.

    Attributes:
        name: what it is called in its model.
        parameters: how many weights it has.
        flops: operations of one call for one picture.
    """

    name: str
    parameters: int
    flops: int


def unet_costs(unet: UNet2DConditionModel, text_rows: int = MAX_SEQUENCE_LENGTH) -> list[Cost]:
    """Cost of one call, for each top-level part in the order of the data; of its own size of latents.

    Args:
        text_rows: rows of the prompt; 256 is the stock pipeline, fewer a compacted prompt.
    """
    unet = skeleton_of(unet)
    enable_text_bias(unet)
    config, side = unet.config, unet.config.sample_size
    width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    conditions = {"text_embeds": _empty(1, width), "time_ids": _empty(1, 6)}
    sample, text = _empty(1, config.in_channels, side, side), _empty(1, text_rows, config.encoder_hid_dim)
    counts = _flops(unet, sample, _empty(1), encoder_hidden_states=text, added_cond_kwargs=conditions)
    costs = [Cost(name, _weights(module), counts.get(name, 0)) for name, module in _top_level(unet)]
    return sorted((cost for cost in costs if cost.parameters), key=lambda cost: _order(cost.name))


def decoder_cost(vae: AutoencoderKL, latent_side: int) -> Cost:
    """Latents of `latent_side` x `latent_side` cells to pixels."""
    vae = skeleton_of(vae)
    parameters = _weights(vae.decoder) + _weights(vae.post_quant_conv)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vae.decode(_empty(1, vae.config.latent_channels, latent_side, latent_side))
    return Cost("vae.decoder", parameters, counter.get_total_flops())


def text_encoder_cost(text_encoder: ChatGLMModel, text_rows: int = MAX_SEQUENCE_LENGTH) -> Cost:
    """Reading one prompt of `text_rows` rows."""
    text_encoder = skeleton_of(text_encoder)
    ids = torch.zeros(1, text_rows, dtype=torch.long, device="meta")
    mask = torch.zeros(1, 1, text_rows, text_rows, dtype=torch.bool, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        text_encoder(input_ids=ids, position_ids=ids, full_attention_mask=mask, return_dict=True)
    return Cost("text_encoder", _weights(text_encoder), counter.get_total_flops())


def _empty(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _top_level(unet: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children of the U-Net, with the lists of blocks opened."""
    parts: list[tuple[str, nn.Module]] = []
    for name, child in unet.named_children():
        if isinstance(child, nn.ModuleList):
            parts += [(f"{name}.{i}", block) for i, block in enumerate(child)]
        else:
            parts.append((name, child))
    return parts


def _order(name: str) -> tuple[int, str]:
    """Conditions first, then the way of the picture: down, middle, up."""
    stages = ("time", "add_embedding", "encoder_hid", "conv_in", "down", "mid", "up", "conv")
    return next(i for i, stage in enumerate(stages) if name.startswith(stage)), name


def _flops(unet: nn.Module, *arguments: Any, **keywords: Any) -> dict[str, int]:
    """Operations of one call by module name."""
    named = (
        unet if numbers(torch.__version__) < (2, 4, 0) else None
    )  # torch 2.4 and newer find the modules alone
    with FlopCounterMode(named, display=False) as counter, torch.no_grad():
        unet(*arguments, **keywords)
    prefix = f"{type(unet).__name__}."
    counts = counter.get_flop_counts()
    return {name.removeprefix(prefix): sum(ops.values()) for name, ops in counts.items()}
