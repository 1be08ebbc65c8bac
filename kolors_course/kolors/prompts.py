"""Prompts as Kolors reads them: ChatGLM's penultimate layer for cross-attention, its last token as a summary.

The same numbers as `KolorsPipeline.encode_prompt`: prefix [gMASK] sop, padding on the left to 256 tokens,
position 0 on the pads, `hidden_states[-2]` as prompt_embeds, last row of `hidden_states[-1]` as pooled. Weights in a
prompt, (word:1.3), are ours; see `kolors_course.prompting.weights` for how they are written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from torch import Tensor

from kolors_course.dataset.text import check_text
from kolors_course.errors import CourseError
from kolors_course.kolors.compact import additive_attention, compact_inputs, compact_rows
from kolors_course.kolors.weighting import token_weights, weight_bias
from kolors_course.prompting import read_weights

MAX_SEQUENCE_LENGTH = 256


@dataclass(frozen=True)
class PromptEmbeds:
    """An encoded batch of prompts.

    Attributes:
        prompt_embeds: (B, L, D) rows for cross-attention. L is 256, or less when compacted.
        pooled_prompt_embeds: (B, D).
        text_bias: (B, L), added to the cross-attention scores of each row: log of how many rows it stands for, and of
            the weight of its word. Zeros where nothing was compacted and everything weighs 1. (B, h, w, L) where it
            depends on the latent cell, see `kolors_course.kolors.regions`.
    """

    prompt_embeds: Tensor
    pooled_prompt_embeds: Tensor
    text_bias: Tensor

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the steps at which it changes; see `StagedPrompts`."""
        return (0.0,)

    def at(self, share: float) -> "PromptEmbeds":
        """What is read at a share of the steps: always the same."""
        return self

    def rows(self, index: Tensor | slice | Sequence[int]) -> "PromptEmbeds":
        """The prompts at `index`, as a batch."""
        return PromptEmbeds(
            self.prompt_embeds[index], self.pooled_prompt_embeds[index], self.text_bias[index]
        )

    def with_length(self, length: int) -> "PromptEmbeds":
        """The same prompts in `length` rows; the rows added on the left weigh nothing."""
        missing = length - self.prompt_embeds.shape[1]
        embeds = torch.nn.functional.pad(self.prompt_embeds, (0, 0, missing, 0))
        bias = torch.nn.functional.pad(self.text_bias, (missing, 0), value=float("-inf"))
        return PromptEmbeds(embeds, self.pooled_prompt_embeds, bias)

    def weighted(self, weights: Sequence[Sequence[float]]) -> "PromptEmbeds":
        """The same prompts with what each token weighs, see `token_weights`; the pooled vector stays as it is."""
        return replace(self, text_bias=self.text_bias + weight_bias(weights, self.text_bias))


@dataclass(frozen=True)
class LivePrompts:
    """Prompts encoded anew each time they are asked for, because the text encoder itself is being trained.

    Stands where a `PromptEmbeds` would: `rows` gives one, with gradients where they are enabled.
    """

    text_encoder: ChatGLMModel
    ids: tuple[tuple[int, ...], ...]
    weights: Sequence[Sequence[float]] = ()  # of each token; nothing where all weigh 1

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Tensor | slice | Sequence[int]) -> PromptEmbeds:
        """The prompts at `index`, encoded."""
        rows = torch.arange(len(self))[index].tolist()
        prompts = encode_ids(self.text_encoder, [self.ids[row] for row in rows])
        return prompts.weighted([self.weights[row] for row in rows]) if self.weights else prompts

    def weighted(self, weights: Sequence[Sequence[float]]) -> "LivePrompts":
        """See `PromptEmbeds.weighted`."""
        return replace(self, weights=weights)


def join(batches: Sequence[PromptEmbeds]) -> PromptEmbeds:
    """One batch out of several."""
    length = max(b.prompt_embeds.shape[1] for b in batches)
    batches = [b.with_length(length) for b in batches]
    cells = max((b.text_bias.shape[1:-1] for b in batches), key=len)  # (h, w), or () where no bias has cells
    return PromptEmbeds(
        torch.cat([b.prompt_embeds for b in batches]),
        torch.cat([b.pooled_prompt_embeds for b in batches]),
        torch.cat([_in_cells(b.text_bias, cells) for b in batches]),
    )


def _in_cells(text_bias: Tensor, cells: Sequence[int]) -> Tensor:
    """A bias that is the same everywhere, (B, L), in each of (h, w) cells, if there are any."""
    if text_bias.ndim > 2 or not cells:
        return text_bias
    return text_bias[:, None, None].expand(-1, *cells, -1)


def token_ids(
    tokenizer: ChatGLMTokenizer, prompt: str, max_sequence_length: int = MAX_SEQUENCE_LENGTH
) -> list[int]:
    """Ids of one prompt with the prefix [gMASK] sop, cut to `max_sequence_length`, without padding.

    Raises:
        CourseError: the prompt holds half characters, as bytes of another encoding than UTF-8 become.
    """
    check_text("prompt", prompt)
    return tokenizer(prompt, truncation=True, max_length=max_sequence_length)["input_ids"]


def encode_ids(
    text_encoder: ChatGLMModel, ids: Sequence[Sequence[int]], max_sequence_length: int = MAX_SEQUENCE_LENGTH
) -> PromptEmbeds:
    """Encode tokenised prompts, compacted: exact to float rounding against the fully padded encoding.

    Raises:
        CourseError: the text encoder was freed, see `KolorsModel.free`.
    """
    device = text_encoder.get_input_embeddings().weight.device
    if device.type == "meta":
        raise CourseError("the text encoder was freed to save memory; load the model again to encode prompts")
    lengths = [len(row) for row in ids]
    rows = compact_rows(lengths, max_sequence_length)
    input_ids = torch.tensor([[0] * (rows - len(row)) + list(row) for row in ids], device=device)
    return encode_rows(text_encoder, input_ids, torch.tensor(lengths, device=device), max_sequence_length)


def encode_rows(
    text_encoder: ChatGLMModel,
    input_ids: Tensor,
    lengths: Tensor,
    max_sequence_length: int = MAX_SEQUENCE_LENGTH,
) -> PromptEmbeds:
    """Encode token ids (B, L), padded on the left with 0, of which the last `lengths` (B,) are real.

    L is at least `compact_rows` of the lengths; nothing is read back from the device.
    """
    real, text_bias, mask = compact_inputs(lengths, input_ids.shape[1], max_sequence_length)
    position_ids = (real.cumsum(1) - 1).clamp(min=0)
    with additive_attention(text_encoder):
        hidden_states = text_encoder(
            input_ids=input_ids,
            position_ids=position_ids,
            full_attention_mask=mask,
            use_cache=False,
            output_hidden_states=True,
            return_dict=True,
        ).hidden_states
    return PromptEmbeds(hidden_states[-2].transpose(0, 1), hidden_states[-1][-1], text_bias)


def encode_texts(
    tokenizer: ChatGLMTokenizer,
    text_encoder: ChatGLMModel,
    texts: Sequence[str],
    max_sequence_length: int = MAX_SEQUENCE_LENGTH,
) -> PromptEmbeds:
    """Texts to what the U-Net reads of them, letter by letter: tokenize, then `encode_ids`."""
    return encode_ids(
        text_encoder, [token_ids(tokenizer, text, max_sequence_length) for text in texts], max_sequence_length
    )


def encode_prompts(
    tokenizer: ChatGLMTokenizer,
    text_encoder: ChatGLMModel,
    prompts: Sequence[str],
    max_sequence_length: int = MAX_SEQUENCE_LENGTH,
) -> PromptEmbeds:
    """Prompts to what the U-Net reads of them: their texts, and the weights of their words.

    Raises:
        CourseError: see `token_ids` and `read_weights`.
    """
    texts, weights = split_weights(tokenizer, prompts, max_sequence_length)
    return encode_texts(tokenizer, text_encoder, texts, max_sequence_length).weighted(weights)


def split_weights(
    tokenizer: ChatGLMTokenizer, prompts: Sequence[str], max_sequence_length: int = MAX_SEQUENCE_LENGTH
) -> tuple[list[str], list[tuple[float, ...]]]:
    """The texts of prompts, and what each token of them weighs.

    Raises:
        CourseError: see `token_ids` and `read_weights`.
    """
    read = [read_weights(prompt) for prompt in prompts]
    ids = [token_ids(tokenizer, prompt.text, max_sequence_length) for prompt in read]
    weights = [token_weights(tokenizer, *pair) for pair in zip(read, ids, strict=True)]
    return [prompt.text for prompt in read], weights


def encode_prompts_padded(
    tokenizer: ChatGLMTokenizer,
    text_encoder: ChatGLMModel,
    prompts: Sequence[str],
    max_sequence_length: int = MAX_SEQUENCE_LENGTH,
) -> PromptEmbeds:
    """`encode_prompts` in the plain way, with every pad row, as the stock pipeline does it.

    Raises:
        CourseError: see `encode_prompts`.
    """
    texts, weights = split_weights(tokenizer, prompts, max_sequence_length)
    device = text_encoder.get_input_embeddings().weight.device
    inputs = tokenizer(
        texts,
        padding="max_length",
        max_length=max_sequence_length,
        truncation=True,
        return_tensors="pt",
    ).to(device)
    hidden_states = text_encoder(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        position_ids=inputs["position_ids"],
        output_hidden_states=True,
        use_cache=False,
        return_dict=True,
    ).hidden_states
    embeds = hidden_states[-2].transpose(0, 1)
    bias = torch.zeros(embeds.shape[:2], device=device)
    return PromptEmbeds(embeds, hidden_states[-1][-1], bias).weighted(weights)
