"""A tiny U-Net with the structure of Kolors, and LoRAs trained on it."""

import copy
import functools

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from kolors_course.lora import (
    LoraSettings,
    add_lora,
    lora_state_dict,
    save_lora,
)

ORIGIN = {"base_model": "kolors-mini", "dataset_hash": "abc123"}
SETTINGS = LoraSettings(rank=3, alpha=1.5)
RSLORA = LoraSettings(rank=3, alpha=1.5, use_rslora=True)
DORA = LoraSettings(rank=3, alpha=1.5, use_dora=True)
# Every kind of layer that a Kolors LoRA file may touch: attention, feed-forward and convolutions.
WIDE = LoraSettings(rank=2, alpha=1.0, target_modules=("to_q", "ff.net.0.proj", "conv1", "conv_shortcut"))
# float32 through about 20 layers of activations of size 1: two ways of adding the same numbers.
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# What Kolors' U-Net and the tiny one share.
KOLORS_STRUCTURE = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text_time",
    "use_linear_projection": True,
}
KOLORS_SIZES = {
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "encoder_hid_dim": 4096,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 5632,
}


def build_unet(cross_attention_dim: int = 16) -> UNet2DConditionModel:
    """Kolors in small, with new random weights."""
    return UNet2DConditionModel(
        **KOLORS_STRUCTURE,
        sample_size=8,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        transformer_layers_per_block=[1, 1, 2],
        attention_head_dim=[2, 4, 4],
        norm_num_groups=4,
        cross_attention_dim=cross_attention_dim,
        encoder_hid_dim=24,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 24,
    )


UNTRAINED = build_unet().eval()


def tiny_unet() -> UNet2DConditionModel:
    """A new U-Net with the same weights at every call."""
    return copy.deepcopy(UNTRAINED)


@torch.no_grad()
def predict(unet: nn.Module) -> torch.Tensor:
    """The U-Net's output (2, 4, 8, 8) for one fixed input."""
    generator, dtype = seeded(9), unet.dtype
    latents = torch.randn(2, 4, 8, 8, generator=generator).to(dtype)
    prompt_embeds = torch.randn(2, 5, 24, generator=generator).to(dtype)
    conditions = {
        "text_embeds": torch.randn(2, 24, generator=generator).to(dtype),
        "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2, dtype=dtype),
    }
    return unet(latents, torch.tensor([100, 700]), prompt_embeds, added_cond_kwargs=conditions).sample


@functools.cache
def trained_unet(settings: LoraSettings = SETTINGS, seed: int = 0) -> UNet2DConditionModel:
    """A U-Net whose LoRA has an effect: B is not zero any more, and DoRA's lengths have moved.

    Shared between tests: to be read, not changed.
    """
    unet = tiny_unet()
    add_lora(unet, settings, generator=seeded(seed))
    generator = seeded(seed + 100)
    with torch.no_grad():
        for name, tensor in lora_state_dict(unet).items():
            if "lora_A" not in name:
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return unet


def trained_file(folder, settings: LoraSettings = SETTINGS, seed: int = 0, name: str = "ink"):
    return save_lora(folder / f"{name}.safetensors", trained_unet(settings, seed), settings, **ORIGIN)


def rewrite(path, tensors):
    """Replace the tensors of a LoRA file and keep its metadata as `SETTINGS` gives it."""
    state = {name.removeprefix("unet."): tensor for name, tensor in tensors.items()}
    return save_lora(path, state, SETTINGS, **ORIGIN)
