"""What one step and what encoding costs, measured on the meta device: exact bytes and operations, no numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from torch import Tensor, nn

from kolors_course.kolors.compact import TextBiasAttnProcessor, plain_attention
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds, encode_rows
from kolors_course.kolors.skeleton import skeleton_of
from kolors_course.kolors.unet import conditioning_of, unet_noise
from kolors_course.lora import add_lora, lora_parameters, unload_lora
from kolors_course.platform.meter import FusedAttention, Meter, fused_attention
from kolors_course.training.recipe import LoraTraining

CAPTION_TOKENS = 62  # of a caption of two sentences, its prefix included


@dataclass(frozen=True)
class StepCost:
    """What one pass of the U-Net forward and back takes, without its weights.

    Attributes:
        kept: bytes that are kept in between.
        peak: bytes at the worst moment.
        calls: how many operations of torch it takes.
        learning: how many numbers learn.
    """

    kept: int
    peak: int
    tflop: float
    calls: int
    learning: int


def measure_step(
    model: KolorsModel,
    recipe: LoraTraining,
    batch: tuple[int, int, int],
    half: torch.dtype | None,
    on_cpu: bool,
) -> StepCost:
    """The cost of one pass, on a U-Net without weights, which is left without LoRA.

    Args:
        batch: pictures, and height and width of their latents.
        half: the type of mixed precision; None computes in the type of the weights.
        on_cpu: compute attention by its formula, as we do there, instead of by a fused kernel.
    """
    unet = model.unet
    add_lora(unet, recipe.settings, generator=torch.Generator())
    parameters = lora_parameters(unet)
    unet.set_attn_processor(_PlainProcessor() if on_cpu else _FusedProcessor())
    if recipe.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    inputs = step_inputs(model, batch)
    try:
        with _autocast(unet, half, norms=not on_cpu), Meter() as meter:
            noise = unet_noise(model, *inputs)
            kept = meter.bytes
            loss = noise.float().square().mean()
            loss.backward()
    finally:
        unload_lora(unet)
        unet.disable_gradient_checkpointing()
    learning = sum(parameter.numel() for parameter in parameters)
    return StepCost(kept, meter.peak, meter.tflop, meter.calls, learning)


@torch.no_grad()
def measure_captions(text_encoder: ChatGLMModel, captions: int) -> tuple[int, float]:
    """Working bytes and TFLOP of encoding so many captions together."""
    text_encoder = skeleton_of(text_encoder)
    ids = torch.zeros(captions, CAPTION_TOKENS + 1, dtype=torch.long, device="meta")
    lengths = torch.full((captions,), CAPTION_TOKENS, device="meta")
    with FusedAttention(), Meter() as meter:
        encode_rows(text_encoder, ids, lengths)
    return meter.peak, meter.tflop


@torch.no_grad()
def measure_picture(vae: AutoencoderKL, size: tuple[int, int]) -> tuple[int, float]:
    """Working bytes and TFLOP of encoding one picture of `size` (width, height)."""
    vae = skeleton_of(vae)
    pixels = torch.empty(1, 3, *size[::-1], dtype=vae.dtype, device="meta")
    with FusedAttention(), Meter() as meter:
        vae.encode(pixels)
    return meter.peak, meter.tflop


class _PlainProcessor(TextBiasAttnProcessor):
    mix = staticmethod(plain_attention)


class _FusedProcessor(TextBiasAttnProcessor):
    mix = staticmethod(fused_attention)


@contextmanager
def _autocast(unet: nn.Module, half: torch.dtype | None, norms: bool) -> Iterator[None]:
    """What autocast does, for the meta device, which has none: products in `half`, normalisation in float32.

    Args:
        norms: whether normalisation is cast, as on a GPU; a CPU leaves it.
    """
    if half is None:
        yield
        return
    handles = []
    for layer in unet.modules():
        if isinstance(layer, (nn.GroupNorm, nn.LayerNorm)) and norms:
            layer.float()
            handles.append(layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),)))
        elif isinstance(layer, (nn.Linear, nn.Conv2d)):
            layer.to(half)
            handles.append(layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(half),)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def step_inputs(model: KolorsModel, batch: tuple[int, int, int]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What the trainer gives to the U-Net, without numbers."""
    count, height, width = batch
    text = model.unet.config.encoder_hid_dim
    with torch.device("meta"):
        prompts = PromptEmbeds(
            torch.empty(count, CAPTION_TOKENS + 1, text, dtype=model.text_encoder.dtype),
            torch.empty(count, text, dtype=model.text_encoder.dtype),
            torch.empty(count, CAPTION_TOKENS + 1),
        )
        latents = torch.empty(count, model.unet.config.in_channels, height, width)
        return latents, torch.empty(count), conditioning_of(prompts, torch.empty(count, 6))
