"""Exercises of notebook 05: what many equal pads weigh, and how wide the U-Net's conditions are."""

import math
from collections.abc import Callable

from kolors_course.exercises.answers import number_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.exercises.formulas import Slip, compare
from kolors_course.kolors.model import KolorsModel

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
