"""How much each word of a prompt counts: log w upon the attention scores of its rows.

In every cross-attention a weight w multiplies the word's share before the shares are made to add up to one,

    softmax(s + log w)ⱼ = wⱼ·exp(sⱼ) / Σₖ wₖ·exp(sₖ)

as if the word stood there w times (`kolors_course.kolors.compact` drops padding by the same rule). The rows
themselves stay as they are: w = 1 changes nothing, and w = 0 hides the word. ChatGLM reads the prompt without
weights: what other words learned of this one, and the pooled vector, which summarises the prompt, keep it whatever
its weight is.
"""

import math
import re
from collections.abc import Sequence

import torch
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

from kolors_course.errors import CourseError
from kolors_course.prompting import WeightedText

_BYTE = re.compile("<0x[0-9A-F]{2}>")


def token_weights(tokenizer: ChatGLMTokenizer, prompt: WeightedText, ids: Sequence[int]) -> tuple[float, ...]:
    """What each token of a prompt weighs; those of the prefix weigh 1.

    A token that is only partly in a group has the mean weight of its characters.

    Args:
        ids: of its text, see `token_ids`; they may be fewer than the text has.

    Raises:
        CourseError: a text with weights in which the tokenizer sees special tokens.
    """
    prefix = len(tokenizer.get_prefix_tokens())
    if prompt.is_plain:
        return (1.0,) * len(ids)
    pieces, spans = _pieces(tokenizer, prompt.text)
    if tokenizer.convert_ids_to_tokens(list(ids[prefix:])) != pieces[: len(ids) - prefix]:
        raise CourseError(
            "the prompt holds a special token of the tokenizer, such as </s>, and has weights; leave one of them out"
        )
    weights = [prompt.mean(*span) for span in spans]
    return (*(1.0,) * prefix, *weights)[: len(ids)]


def weight_bias(weights: Sequence[Sequence[float]], like: torch.Tensor) -> torch.Tensor:
    """log w of the last rows of each prompt, and 0 of those before them; shape and device of `like` (B, L)."""
    bias = torch.zeros_like(like)
    for row, values in zip(bias, weights, strict=True):
        logs = [math.log(value) if value else -math.inf for value in values]
        row[len(row) - len(logs) :] = torch.tensor(logs)
    return bias


def _pieces(tokenizer: ChatGLMTokenizer, text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The pieces of a text, and which characters each stands for.

    A character that is no piece is cut into bytes, and only the last of them is said to stand for it: so do all.
    """
    model = tokenizer.tokenizer.sp_model
    try:
        found = model.encode(text, return_type="offset_mapping")
        pieces, spans = found["pieces"], found["offsets"]
    except TypeError:  # sentencepiece before 0.2.2
        proto = model.encode(text, out_type="immutable_proto")
        pieces, spans = [p.piece for p in proto.pieces], [(p.begin, p.end) for p in proto.pieces]
    for i in reversed(range(len(spans) - 1)):
        if spans[i][0] == spans[i][1] and _BYTE.fullmatch(pieces[i]):
            spans[i] = spans[i + 1]
    return pieces, spans
