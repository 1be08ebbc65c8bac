"""The parts of Kolors-mini before training: tokenizer, ChatGLM, U-Net and the scheduler's configuration."""

import io
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from torch import Tensor, nn

from kolors_course.art import BASE_STYLE, STYLE_ZH, STYLES, draw_scene, random_caption, subjects
from kolors_course.art.captions import LABEL_PLACE_ZH, PLACE_ZH, SIZE_ZH, TIME_ZH
from kolors_course.files import atomic_path

SPECIAL_TOKENS = 9  # [MASK] [gMASK] [sMASK] sop eop and four roles, appended by ChatGLMTokenizer

KOLORS_SCHEDULER = {
    "num_train_timesteps": 1100,
    "beta_start": 0.00085,
    "beta_end": 0.014,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "interpolation_type": "linear",
}


def kolors_scheduler() -> EulerDiscreteScheduler:
    """Kolors' own scheduler: SDXL's noise schedule continued to 1100 steps."""
    return EulerDiscreteScheduler(**KOLORS_SCHEDULER)


def _chinese_words() -> list[str]:
    """Words that must stay whole: without spaces, byte-pair merges would cut across Chinese words."""
    words = {w for s in subjects() for w in (s.zh, s.zh_synonym, s.classifier)}
    words |= {w for table in (PLACE_ZH, TIME_ZH, SIZE_ZH) for pair in table.values() for w in pair}
    words |= {"一幅画", "左边", "右边", "中间", "风格", *LABEL_PLACE_ZH.values(), *STYLE_ZH.values()}
    return sorted(words - {""})


def _corpus(captions: int, seed: int) -> list[str]:
    """Captions of random scenes, a third of which name one of the seven styles."""
    rng, lines = np.random.default_rng(seed), []
    for _ in range(captions):
        style = STYLES[rng.integers(len(STYLES))] if rng.random() < 1 / 3 else BASE_STYLE
        lines.append(random_caption(draw_scene(rng), rng, style))
    return lines


def build_tokenizer(folder: Path, captions: int = 20000, seed: int = 0) -> ChatGLMTokenizer:
    """Train a bilingual SentencePiece BPE model on captions; unknown characters fall back to bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_corpus(captions, seed)),
        model_writer=model,
        model_type="bpe",
        vocab_size=1600,
        user_defined_symbols=_chinese_words(),
        character_coverage=1.0,
        byte_fallback=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    with atomic_path(folder / "tokenizer.model") as path:
        path.write_bytes(model.getvalue())
    return ChatGLMTokenizer(str(folder / "tokenizer.model"))


def carry_embeddings(weight: Tensor, old: ChatGLMTokenizer, new: ChatGLMTokenizer) -> Tensor:
    """Word embeddings (V, width) of one tokenizer, arranged for another of the same size.

    A piece that both know keeps its row; a new piece gets the mean of the old pieces that spell it.
    """
    before, after, carried = old.tokenizer.sp_model, new.tokenizer.sp_model, weight.clone()
    for row in range(after.vocab_size()):
        piece = after.id_to_piece(row)
        known = before.piece_to_id(piece)
        if known == before.unk_id() and row != after.unk_id():
            known = before.encode(piece.replace("▁", " "))
        carried[row] = weight[known] if isinstance(known, int) else weight[known].mean(0)
    return carried


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
) -> UNet2DConditionModel:
    """A U-Net with exactly Kolors' fields, scaled down: 32 channels per head, 32 numbers per time id."""
    heads = tuple(c // 32 for c in block_out_channels)
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=4,
        out_channels=4,
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


def parameter_count(model: torch.nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in model.parameters())
