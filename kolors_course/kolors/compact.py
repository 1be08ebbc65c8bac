"""Exact shortening of padded prompts: drop repeated pad rows, keep their weight.

Kolors pads every prompt on the left to 256 tokens and masks nothing in the U-Net, so pad rows take part in
cross-attention. But all pad rows of a prompt are identical. Softmax attention over m equal keys equals attention
over k of them with log(m / k) added to their scores:

    m·exp(s) = k·exp(s + log(m / k))

so a prompt of n real tokens needs n + 1 rows instead of 256, in the text encoder and in the U-Net alike.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from torch import Tensor, nn


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention, shapes (B, heads, rows, channels); `bias` is added to the scores.

    Torch's fused kernel, except where a CPU has to compute gradients: its backward pass is several times slower
    there than the plain formula for rows as few as ours.
    """
    if query.device.type == "cpu" and torch.is_grad_enabled():
        return plain_attention(query, key, value, bias)
    return F.scaled_dot_product_attention(query, key, value, None if bias is None else bias.to(query.dtype))


def plain_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """`attention` by its formula, all scores in memory."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return scores.float().softmax(-1).to(value.dtype) @ value


class TextBiasAttnProcessor:
    """diffusers' attention of a transformer block, with `text_bias` (B, L) added to the scores of text rows.

    Self-attention ignores the bias. hidden_states (B, rows, channels), encoder_hidden_states (B, L, channels).

    Keys and values of the text are the same in every step of sampling: a `text_memory`, a dictionary that starts
    empty, keeps them from one call to the next with the same text. It is for sampling only.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text_bias: Tensor | None = None,
        text_memory: dict[Attention, tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        def heads(layer: nn.Module, x: Tensor) -> Tensor:
            return layer(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        is_self = encoder_hidden_states is None
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        bias = None if is_self or text_bias is None else text_bias[:, None, None, :]
        remembered = None if is_self or text_memory is None else text_memory.get(attn)
        query = heads(attn.to_q, hidden_states)
        key, value = remembered or (heads(attn.to_k, source), heads(attn.to_v, source))
        if text_memory is not None and not is_self:
            text_memory[attn] = key, value
        mixed = self.mix(query, key, value, bias).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """What each query gathers; arguments as for `attention`."""
        return attention(query, key, value, bias)


def enable_text_bias(unet: UNet2DConditionModel | ControlNetModel) -> None:
    """Let `unet(..., cross_attention_kwargs={"text_bias": bias})` accept compacted prompts."""
    unet.set_attn_processor(TextBiasAttnProcessor())


class _AdditiveCoreAttention(nn.Module):
    """ChatGLM's attention core with an additive float mask where the stock one takes a boolean mask.

    Shapes as in the stock class: query, key and value (L, B, heads, channels), result (L, B, heads·channels).
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor) -> Tensor:
        query, key, value = (x.permute(1, 2, 0, 3) for x in (query, key, value))
        mixed = attention(query, key, value, attention_mask)
        return mixed.permute(2, 0, 1, 3).flatten(2)


@contextmanager
def additive_attention(text_encoder: ChatGLMModel) -> Iterator[None]:
    """Within this context the encoder's `full_attention_mask` is added to the attention scores."""
    layers = [layer.self_attention for layer in text_encoder.encoder.layers]
    stock = [layer.core_attention for layer in layers]
    for layer in layers:
        layer.core_attention = _AdditiveCoreAttention()
    try:
        yield
    finally:
        for layer, core in zip(layers, stock, strict=True):
            layer.core_attention = core


def compact_rows(lengths: Sequence[int], max_sequence_length: int) -> int:
    """How many rows prompts of these lengths need: the longest and one pad row, never more than the full length."""
    return min(max(lengths) + 1, max_sequence_length)


def compact_inputs(lengths: Tensor, rows: int, max_sequence_length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Masks for left-padded prompts cut to L = `rows`, see `compact_rows`.

    Args:
        lengths: (B,) number of real tokens of each prompt, prefix included.
        max_sequence_length: the padded length that is to be matched exactly, 256 for Kolors.

    Returns:
        real (B, L) bool: which rows are real; text_bias (B, L): what to add to the score of each row; and
        full_attention_mask (B, 1, L, L), additive, for the text encoder: real rows look back at real rows,
        pad rows look at everything (as ChatGLMModel.get_masks has it).
    """
    pads = rows - lengths
    real = torch.arange(rows, device=lengths.device)[None] >= pads[:, None]
    ratio = (max_sequence_length - lengths).clamp(min=1) / pads.clamp(min=1)
    text_bias = torch.where(real, 0.0, ratio.log()[:, None])
    causal = torch.ones(rows, rows, dtype=torch.bool, device=lengths.device).tril()
    allowed = causal[None] & real[:, None, :]
    full = torch.where(allowed, 0.0, float("-inf"))
    full = torch.where(real[:, :, None], full, text_bias[:, None, :])
    return real, text_bias, full[:, None]
