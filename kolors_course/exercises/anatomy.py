"""Exercises of notebook 05: what equal pads weigh, how wide the U-Net's conditions are, and a transformer block."""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from kolors_course.exercises.answers import number_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.exercises.formulas import Slip, compare
from kolors_course.kolors.model import KolorsModel

_Block = Any  # a BasicTransformerBlock, whose parts torch types as Module or Tensor
TIME_IDS = 6  # original height and width, crop top and left, target height and width


def pad_bias(pads: int, kept: int) -> float:
    """What to add to the attention scores of `kept` rows so that they weigh as much as `pads` equal ones."""
    return math.log(pads / kept)


@exercise(
    lambda: pad_bias,
    "divide both sides by exp(s), then by k, and take the logarithm.",
    "两边除以 exp(s)，再除以 k，然后取对数。",
)
def check_pad_bias(bias: Callable[[int, int], float]) -> Right:
    """Whether `bias(pads, kept)` lets `kept` rows stand for `pads` equal ones in a softmax.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    cases = ((240, 1), (240, 3), (5, 5), (2, 1))
    slips = (
        Slip(
            lambda pads, kept: math.log(kept / pads),
            "The wrong way round: fewer rows stand for more, so each must weigh *more*.",
            "反了：用更少的行代替更多的行，每一行要*更重*。",
        ),
        Slip(
            lambda pads, kept: pads / kept,
            "That is the factor after exp. The bias is added to the score *before* exp, and exp(log m) = m.",
            "这是 exp 之后的倍数。偏置加在 exp *之前*的分数上，而 exp(log m) = m。",
        ),
        Slip(
            lambda pads, kept: math.log(pads),
            "Right when one row is kept. With `kept` rows each needs to stand for pads/kept of them.",
            "只留一行时是对的。留下 kept 行时，每行只代表 pads/kept 行。",
        ),
        Slip(
            lambda pads, kept: math.log(pads - kept + 1),
            "The rows left out do not add up: m·exp(s) = k·exp(s + b) gives a quotient, not a difference.",
            "不是加减：由 m·exp(s) = k·exp(s + b) 得到的是商，不是差。",
        ),
        Slip(
            lambda pads, kept: math.log2(pads / kept),
            "The softmax uses the natural exponential, so take the natural logarithm.",
            "softmax 用的是自然指数，所以要取自然对数。",
        ),
        Slip(
            lambda pads, kept: 0.0,
            "Without a bias, dropping pads changes the weights of all rows: the pads would weigh too little.",
            "没有偏置的话，丢掉补齐行会改变所有行的权重：补齐行就太轻了。",
        ),
    )
    compare(bias, pad_bias, cases, slips)
    return Right(
        "By hand: 2·exp(s) = exp(s + log 2). One row with log 2 added weighs as much as two.",
        "手算：2·exp(s) = exp(s + log 2)。加上 log 2 的一行和两行一样重。",
    )


def condition_width(model: KolorsModel) -> int:
    """Inputs of the U-Net's `add_embedding`: the summary of the prompt, and the waves of each number about size."""
    config = model.unet.config
    return config.encoder_hid_dim + TIME_IDS * config.addition_time_embed_dim


@exercise(
    condition_width,
    "the summary, and beside it a row of waves for each of the numbers about size. How many of those are there?",
    "汇总向量，再接上每个尺寸数字的一排波。尺寸数字有几个？",
)
def check_condition_width(answer: object, model: KolorsModel) -> Right:
    """Whether `answer` is the number of inputs of the U-Net's `add_embedding`: summary and size numbers together.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    answer, right = number_of(answer), condition_width(model)
    text, wide = model.unet.config.encoder_hid_dim, model.unet.config.addition_time_embed_dim
    if answer == right:
        return Right(
            f"{text} + {TIME_IDS} x {wide} = {right}. In full Kolors: 4096 + 6 x 256 = 5632.",
            f"{text} + {TIME_IDS} × {wide} = {right}。完整的可图：4096 + 6 × 256 = 5632。",
        )
    guesses = {
        TIME_IDS * wide: (
            "Those are the size numbers alone; the pooled summary of the prompt is put beside them.",
            "这只是尺寸的部分；旁边还要接上提示词的汇总向量。",
        ),
        text: (
            "That is the summary alone; the six numbers about sizes come beside it, each as a row of waves.",
            "这只是汇总向量；旁边还要接上六个尺寸数字，每个都变成一排波。",
        ),
        text + TIME_IDS: (
            f"A bare number is a poor input: each of the six is first turned into {wide} waves.",
            f"单个数字不是好的输入：六个数字每个先变成 {wide} 个波。",
        ),
        text + wide: (
            f"There are {TIME_IDS} numbers, each with {wide} waves of its own.",
            f"数字有 {TIME_IDS} 个，每个都有自己的 {wide} 个波。",
        ),
        text + 4 * wide: (
            "Original size, crop corner *and* target size: three pairs, six numbers.",
            "原始尺寸、裁剪起点、*还有*目标尺寸：三对，共六个数字。",
        ),
    }
    if answer in guesses:
        raise Mistake(*guesses[answer])
    raise Mistake(
        f"{answer:g} is not it: the summary has {text} numbers, each of the {TIME_IDS} size numbers becomes {wide}.",
        f"{answer:g} 不对：汇总向量有 {text} 个数，{TIME_IDS} 个尺寸数字每个变成 {wide} 个。",
    )


def transformer_block(block: _Block, x: Tensor, words: Tensor) -> Tensor:
    """A transformer block of the U-Net, part by part: x (B, cells, channels), words (B, rows, width)."""
    x = x + block.attn1(block.norm1(x))
    x = x + block.attn2(block.norm2(x), encoder_hidden_states=words)
    return x + block.ff(block.norm3(x))


def _cross_first(block: _Block, x: Tensor, words: Tensor) -> Tensor:
    x = x + block.attn2(block.norm2(x), encoder_hidden_states=words)
    x = x + block.attn1(block.norm1(x))
    return x + block.ff(block.norm3(x))


def _without_sums(block: _Block, x: Tensor, words: Tensor) -> Tensor:
    x = block.attn2(block.norm2(block.attn1(block.norm1(x))), encoder_hidden_states=words)
    return block.ff(block.norm3(x))


def _without_norms(block: _Block, x: Tensor, words: Tensor) -> Tensor:
    x = x + block.attn1(x)
    x = x + block.attn2(x, encoder_hidden_states=words)
    return x + block.ff(x)


def _sums_of_norms(block: _Block, x: Tensor, words: Tensor) -> Tensor:
    for norm, part in (
        (block.norm1, block.attn1),
        (block.norm2, lambda h: block.attn2(h, encoder_hidden_states=words)),
        (block.norm3, block.ff),
    ):
        x = norm(x)
        x = x + part(x)
    return x


def _side_by_side(block: _Block, x: Tensor, words: Tensor) -> Tensor:
    looks = block.attn1(block.norm1(x)) + block.attn2(block.norm2(x), encoder_hidden_states=words)
    return x + looks + block.ff(block.norm3(x))


def _wordless(block: _Block, x: Tensor, words: Tensor) -> Tensor:
    x = x + block.attn1(block.norm1(x))
    return x + block.ff(block.norm3(x))


def _without_feed_forward(block: _Block, x: Tensor, words: Tensor) -> Tensor:
    x = x + block.attn1(block.norm1(x))
    return x + block.attn2(block.norm2(x), encoder_hidden_states=words)


_BLOCK_SLIPS = (
    Slip(
        _without_sums,
        "The sums are missing: each part *adds* to what was there, x = x + part(norm(x)).",
        "缺了相加：每一部分都是*加*到原来的 x 上，x = x + 部分(归一化(x))。",
    ),
    Slip(
        _without_norms,
        "The norms are missing: each part sees x normalised, by a norm of its own.",
        "缺了归一化：每一部分看到的是各自归一化后的 x。",
    ),
    Slip(
        _sums_of_norms,
        "The norm is only for the part to look at: x + part(norm(x)), and not norm(x) + part(norm(x)).",
        "归一化只给那一部分看：是 x + 部分(归一化(x))，不是 归一化(x) + 部分(归一化(x))。",
    ),
    Slip(
        _cross_first,
        "The order: first the cells look at each other (attn1), then at the words (attn2).",
        "顺序反了：先是各格互相看（attn1），再看词（attn2）。",
    ),
    Slip(
        _side_by_side,
        "One after the other: attn2 gets the x to which attn1 has added, and ff what came of both.",
        "要一个接一个：attn2 用的是 attn1 加过之后的 x，ff 用的是两者之后的 x。",
    ),
    Slip(
        _wordless,
        "The words have no say: attn2 is missing.",
        "词没有起作用：缺了 attn2。",
    ),
    Slip(
        _without_feed_forward,
        "The last part is missing: ff, which every cell goes through by itself.",
        "缺了最后一部分：ff，每一格各自通过。",
    ),
)


@exercise(
    lambda model: transformer_block,
    "three lines of one pattern, x = x + part(norm(x)): attn1, then attn2 with encoder_hidden_states=words, then ff.",
    "三行同一个模式，x = x + 部分(归一化(x))：先 attn1，再 attn2（encoder_hidden_states=words），最后 ff。",
)
def check_transformer_block(forward: Callable[[_Block, Tensor, Tensor], Tensor], model: KolorsModel) -> Right:
    """Whether `forward(block, x, words)` is what a transformer block of `model` computes from its parts.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    blocks = [
        deepcopy(part.attentions[0].transformer_blocks[0]).to("cpu", torch.float32)
        for part in (model.unet.mid_block, model.unet.up_blocks[1])
    ]
    generator = torch.Generator().manual_seed(0)
    cases = []
    for block in blocks:
        sizes = ((1, 6, block.attn1.to_q.in_features), (1, 4, block.attn2.to_k.in_features))
        cases.append((block, *(torch.randn(size, generator=generator) for size in sizes)))
    with torch.no_grad():
        compare(forward, transformer_block, cases, _BLOCK_SLIPS)
    return Right(
        "Look around, look at the words, think: x = x + part(norm(x)), three times. Your function is what "
        "every transformer block of the U-Net does, in full Kolors too, which has 70 of them.",
        "看看四周，看看词，再想一想：x = x + 部分(归一化(x))，共三次。U-Net 的每个 Transformer 块都这样算，"
        "完整的可图也一样，它有 70 块。",
    )
