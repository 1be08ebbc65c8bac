"""Where in the picture the U-Net attends to which word (the idea of DAAM, arXiv 2210.04885)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.kolors.compact import TextBiasAttnProcessor
from kolors_course.kolors.prompts import token_ids
from kolors_course.prompting import read_weights

_SPACE = "▁"  # SentencePiece's mark for a space


@dataclass(frozen=True)
class AttentionRecord:
    """One cross-attention layer at one call of the U-Net.

    Attributes:
        layer: its name, such as "mid_block.attentions.0.transformer_blocks.0.attn2".
        weights: (B, rows, L), mean over heads: how much each latent cell takes from each text row. Sums to 1 over L.
    """

    layer: str
    weights: Tensor


class _Recorder(TextBiasAttnProcessor):
    def __init__(self, layer: str, records: list[AttentionRecord]):
        self.layer, self.records = layer, records

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        weights = (scores if bias is None else scores + bias).softmax(dim=-1)
        self.records.append(AttentionRecord(self.layer, weights.mean(dim=1).detach()))
        return weights @ value


@contextmanager
def record_attention(unet: UNet2DConditionModel) -> Iterator[list[AttentionRecord]]:
    """Within this context every cross-attention of `unet` is written into the list that is yielded.

    The U-Net computes the same. Records gather with every call: clear the list between calls to keep one.
    """
    records: list[AttentionRecord] = []
    before = dict(unet.attn_processors)
    recording = {
        name: _Recorder(name.removesuffix(".processor"), records) if ".attn2." in name else processor
        for name, processor in before.items()
    }
    unet.set_attn_processor(recording)
    try:
        yield records
    finally:
        unet.set_attn_processor(before)


def attention_maps(records: Sequence[AttentionRecord], latent_size: tuple[int, int]) -> Tensor:
    """(B, L, h, w): how much each latent cell took from each text row, mean over the records. Sums to 1 over L.

    Layers on halved grids are stretched to `latent_size`.

    Args:
        records: of one batch and one set of prompts; several calls of the U-Net are averaged.
        latent_size: (h, w).

    Raises:
        CourseError: there are no records.
    """
    if not records:
        raise CourseError("no attention was recorded; call the U-Net inside record_attention")
    maps = [_as_grid(record.weights, latent_size) for record in records]
    return torch.stack(maps).mean(dim=0)


def _as_grid(weights: Tensor, latent_size: tuple[int, int]) -> Tensor:
    """(B, rows, L) -> (B, L, h, w)."""
    height, width = latent_size
    shrink = round((height * width / weights.shape[1]) ** 0.5)
    grid = weights.transpose(1, 2).unflatten(2, (height // shrink, width // shrink))
    return F.interpolate(grid.float(), size=latent_size, mode="bilinear")


@dataclass(frozen=True)
class Word:
    """A piece of a prompt and the text row that holds it, counted from the end: row -1 is the last."""

    text: str
    row: int


def prompt_words(tokenizer: ChatGLMTokenizer, prompt: str) -> list[Word]:
    """The pieces of `prompt` in order, without the two tokens of the prefix and without weights.

    Padding is on the left, so a row counted from the end is the same with any padding.
    """
    ids = token_ids(tokenizer, read_weights(prompt).text)
    pieces = tokenizer.convert_ids_to_tokens(ids)
    texts = [piece.replace(_SPACE, " ").strip() for piece in pieces]
    return [Word(text, row - len(ids)) for row, text in enumerate(texts) if row >= 2 and text]
