"""The networks of Kolors-mini before training, ChatGLM and the U-Net, and its scheduler."""

from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel
from torch import nn

from kolors_course.kolors.configs import KOLORS_SCHEDULER


def build_text_encoder(vocab_size: int, hidden_size: int = 192, layers: int = 3) -> ChatGLMModel:
    """A small ChatGLM. Its constructor leaves memory uninitialised, so every weight is set here."""
    heads = hidden_size // 48
    config = ChatGLMConfig(
        num_layers=layers,
        padded_vocab_size=-(-vocab_size // 64) * 64,
        hidden_size=hidden_size,
        ffn_hidden_size=int(hidden_size * 8 / 3) // 16 * 16,
        kv_channels=48,
        num_attention_heads=heads,
        multi_query_attention=True,
        multi_query_group_num=2,
        seq_length=256,
        add_qkv_bias=True,
        add_bias_linear=False,
        rmsnorm=True,
        post_layer_norm=True,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        original_rope=True,
        apply_residual_connection_post_layernorm=False,
        fp32_residual_connection=False,
        attention_softmax_in_fp32=True,
        apply_query_key_layer_scaling=True,
        bias_dropout_fusion=True,
    )
    model = ChatGLMModel(config, empty_init=False)
    residual = (2 * layers) ** -0.5
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        else:
            last = name.endswith(("dense.weight", "dense_4h_to_h.weight"))
            std = 0.5 if "embedding" in name else parameter.shape[1] ** -0.5 * (residual if last else 1.0)
            nn.init.normal_(parameter, std=std)
    nn.init.zeros_(model.output_layer.weight)  # Kolors never uses the language-model head
    return model


def build_unet(
    text_width: int,
    block_out_channels: tuple[int, int, int] = (64, 128, 192),
    transformer_layers: tuple[int, int, int] = (1, 1, 2),
    sample_size: int = 16,
    latent_channels: int = 4,
) -> UNet2DConditionModel:
    """A U-Net with exactly Kolors' fields, scaled down: 32 channels per head, 32 numbers per time id."""
    heads = tuple(c // 32 for c in block_out_channels)
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=block_out_channels,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=transformer_layers,
        attention_head_dim=heads,
        cross_attention_dim=block_out_channels[-1],
        encoder_hid_dim=text_width,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=text_width + 6 * 32,
        use_linear_projection=True,
        norm_num_groups=32,
    )


def kolors_scheduler() -> EulerDiscreteScheduler:
    """Kolors' own scheduler, and Kolors-mini's."""
    return EulerDiscreteScheduler(**KOLORS_SCHEDULER)
