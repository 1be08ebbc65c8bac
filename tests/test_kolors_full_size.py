"""The shapes of full Kolors, on the meta device: published numbers of weights, and the structure mini shares."""

import re

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel

from kolors_course.diffusion import NoiseSchedule
from kolors_course.kolors import (
    KolorsModel,
)
from kolors_course.kolors.configs import KOLORS_SCHEDULER
from kolors_course.lora import ATTENTION_TARGETS, LoraSettings, add_lora, lora_parameters
from kolors_course.mini.networks import build_unet

KOLORS_UNET = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "encoder_hid_dim": 4096,
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "addition_embed_type_num_heads": 64,
    "projection_class_embeddings_input_dim": 5632,
    "use_linear_projection": True,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "dropout": 0.0,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "class_embed_type": None,
    "resnet_time_scale_shift": "default",
}


@pytest.fixture(scope="module")
def full_unet():
    with torch.device("meta"):
        return UNet2DConditionModel(**KOLORS_UNET)


def test_full_unet_has_the_published_number_of_weights(full_unet):
    assert full_unet.num_parameters() == 2_579_458_820
    assert len(full_unet.state_dict()) == 1682
    assert sum(p.numel() for p in full_unet.encoder_hid_proj.parameters()) == 8_390_656


def test_full_lora_has_the_camps_targets_and_size(full_unet):
    count = add_lora(full_unet, LoraSettings(rank=16), generator=torch.Generator().manual_seed(0))
    assert count == 560
    assert sum(p.numel() for p in lora_parameters(full_unet)) == 23_224_320
    assert LoraSettings().target_modules == ATTENTION_TARGETS == ("to_q", "to_k", "to_v", "to_out.0")
    full_unet.unload_lora()
    assert len(full_unet.state_dict()) == 1682


def test_full_kolors_sizes(full_unet):
    with torch.device("meta"):
        blocks = 4
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
        )
    assert vae.num_parameters() == 83_653_863
    model = KolorsModel(full_unet, vae, None, None, NoiseSchedule.kolors(), "Kolors")
    assert (model.vae_scale_factor, model.default_size, model.size_multiple) == (8, 1024, 32)


def test_full_text_encoder_has_the_published_number_of_weights():
    config = ChatGLMConfig(
        num_layers=28,
        padded_vocab_size=65024,
        hidden_size=4096,
        ffn_hidden_size=13696,
        kv_channels=128,
        num_attention_heads=32,
        multi_query_attention=True,
        multi_query_group_num=2,
        seq_length=32768,
        add_qkv_bias=True,
        add_bias_linear=False,
        rmsnorm=True,
        original_rope=True,
        post_layer_norm=True,
    )
    with torch.device("meta"):
        text_encoder = ChatGLMModel(config, empty_init=False)
    assert text_encoder.num_parameters() == 6_243_584_000


def anonymous(names) -> set[str]:
    """Weight names without the number of the transformer block, in which the two models may differ."""
    return {re.sub(r"transformer_blocks\.\d+", "transformer_blocks.N", name) for name in names}


def test_kolors_mini_has_the_structure_of_full_kolors(full_unet):
    mini = build_unet(192)
    assert anonymous(mini.state_dict()) == anonymous(full_unet.state_dict())
    scaled = {
        "sample_size",
        "block_out_channels",
        "transformer_layers_per_block",
        "attention_head_dim",
        "cross_attention_dim",
        "encoder_hid_dim",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
    }
    differing = {key for key, value in full_unet.config.items() if mini.config[key] != value}
    assert differing - {"_use_default_values"} == scaled
    for unet in (mini, full_unet):
        config = unet.config
        micro = 6 * config.addition_time_embed_dim
        assert config.projection_class_embeddings_input_dim == config.encoder_hid_dim + micro


def test_kolors_mini_has_kolors_schedule():
    mini = NoiseSchedule.from_scheduler_config(KOLORS_SCHEDULER)
    assert torch.equal(mini.alphas_cumprod, NoiseSchedule.kolors().alphas_cumprod)
    assert KOLORS_SCHEDULER["timestep_spacing"] == "leading"
    assert KOLORS_SCHEDULER["steps_offset"] == 1
