"""Exercises of notebook 04: the formula of guidance, a classifier's push, what guidance costs, a schedule of it."""

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from torch import Tensor

from kolors_course.diffusion import classifier_free_guidance
from kolors_course.exercises.answers import called, number_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.exercises.formulas import Slip, compare


@exercise(
    lambda: classifier_free_guidance,
    "start at noise_uncond and go guidance_scale times the way to noise_text.",
    "从 noise_uncond 出发，朝 noise_text 走 guidance_scale 倍的路程。",
)
def check_guidance(guide: Callable[[Tensor, Tensor, float], Tensor]) -> Right:
    """Whether `guide(noise_uncond, noise_text, guidance_scale)` is classifier-free guidance.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    uncond, text = torch.tensor([1.0, 0.0, -2.0]), torch.tensor([2.0, 0.5, -2.5])
    cases = ((uncond, text, 5.0), (uncond, text, 1.0), (text, uncond, 0.0), (uncond, text, 2.5))
    slips = (
        Slip(
            lambda u, c, s: c + s * (c - u),
            "That is the guidance paper's own convention, (1 + w)·text - w·uncond with w = s. Here s = 1 + w, so "
            "that s = 1 is the plain conditional prediction.",
            "这是引导论文自己的写法 (1 + w)·text - w·uncond，其中 w 用了 s。这里 s = 1 + w，"
            "所以 s = 1 就是单纯的条件预测。",
        ),
        Slip(
            lambda u, c, s: c + s * (u - c),
            "That walks from the prompt towards nothing: the two predictions have changed places.",
            "方向反了：这是从提示词走向“无提示”。两个预测写反了位置。",
        ),
        Slip(
            lambda u, c, s: u - s * (c - u),
            "The sign: the difference text - uncond points towards the prompt, so it is added.",
            "符号错了：text - uncond 指向提示词，应该加上。",
        ),
        Slip(
            lambda u, c, s: s * c,
            "That makes the noise s times as large, and guides nothing. The step goes along text - uncond.",
            "这只是把噪声放大了 s 倍，没有引导。要沿着 text - uncond 的方向走。",
        ),
        Slip(
            lambda u, c, s: u + s * c,
            "That adds the whole of text. The step goes along the difference, text - uncond.",
            "这里加上了整个 text。步子要沿着两者之差 text - uncond 走。",
        ),
        Slip(
            lambda u, c, s: s * (c - u),
            "The starting point is missing: the step along text - uncond begins at uncond.",
            "缺了起点：要从 uncond 出发，再沿 text - uncond 走。",
        ),
        Slip(
            lambda u, c, s: u + (c - u) / s,
            "Divided by s, a larger scale would follow the prompt less.",
            "除以 s 的话，系数越大反而越不听提示词。",
        ),
    )
    compare(guide, classifier_free_guidance, cases, slips)
    return Right(
        "By hand: uncond 1, text 2, s = 5: 1 + 5·(2 - 1) = 6. At s = 1 it is text, at s = 0 uncond.",
        "手算：uncond 1，text 2，s = 5：1 + 5·(2 - 1) = 6。s = 1 时就是 text，s = 0 时就是 uncond。",
    )


def push_by_classifier(
    noise: Tensor, gradient: Tensor, alphas_cumprod: float, guidance_scale: float
) -> Tensor:
    """ε - s·√(1-ᾱ)·∇log p(y|x_t) (arXiv 2105.05233, Algorithm 2)."""
    return noise - guidance_scale * (1 - alphas_cumprod) ** 0.5 * gradient


@exercise(
    lambda: push_by_classifier,
    "ε - s·√(1-ᾱ)·∇log p(y|x_t), with the names of the arguments.",
    "ε - s·√(1-ᾱ)·∇log p(y|x_t)，换成参数的名字。",
)
def check_classifier_push(push: Callable[[Tensor, Tensor, float, float], Tensor]) -> Right:
    """Whether `push(noise, gradient, alphas_cumprod, guidance_scale)` is the noise of classifier guidance.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    noise, gradient = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 1.0])
    cases = ((noise, gradient, 0.75, 1.0), (noise, gradient, 0.19, 3.0), (gradient, noise, 0.36, 2.0))
    slips = (
        Slip(
            lambda e, g, a, s: e + s * (1 - a) ** 0.5 * g,
            "The sign: noise is what gets *removed*, so the sample climbs the gradient where the noise descends it.",
            "符号错了：噪声是要被*去掉*的，所以噪声要减去梯度，样本才会顺着梯度走。",
        ),
        Slip(
            lambda e, g, a, s: e - s * (1 - a) * g,
            "The root is missing: the score is -ε/√(1-ᾱ), so a gradient counts √(1-ᾱ) times as noise.",
            "缺了根号：得分函数是 -ε/√(1-ᾱ)，所以梯度换算成噪声要乘 √(1-ᾱ)。",
        ),
        Slip(
            lambda e, g, a, s: e - s * a**0.5 * g,
            "√ᾱ is how much signal is left. The score is -ε/√(1-ᾱ): the amount of *noise* counts.",
            "√ᾱ 是剩下的信号。得分函数是 -ε/√(1-ᾱ)：要用*噪声*的大小。",
        ),
        Slip(
            lambda e, g, a, s: e - s * ((1 - a) / a) ** 0.5 * g,
            "√((1-ᾱ)/ᾱ) is σ, the noise relative to the signal. The U-Net sees the variance-preserving scale, where "
            "the noise is √(1-ᾱ).",
            "√((1-ᾱ)/ᾱ) 是 σ，即噪声与信号之比。U-Net 看到的是保方差的尺度，那里的噪声是 √(1-ᾱ)。",
        ),
        Slip(
            lambda e, g, a, s: e - s * g,
            "The noise level is missing: the score is -ε/√(1-ᾱ), so a gradient counts √(1-ᾱ) times as noise.",
            "缺了噪声水平：得分函数是 -ε/√(1-ᾱ)，所以梯度换算成噪声要乘 √(1-ᾱ)。",
        ),
        Slip(
            lambda e, g, a, s: e - (1 - a) ** 0.5 * g,
            "guidance_scale is left out.",
            "漏了 guidance_scale。",
        ),
    )
    compare(push, push_by_classifier, cases, slips)
    return Right(
        "By hand: ε = 0.5, gradient 2, ᾱ = 0.75, s = 1: √0.25 = ½, so 0.5 - ½·2 = -0.5.",
        "手算：ε = 0.5，梯度 2，ᾱ = 0.75，s = 1：√0.25 = ½，于是 0.5 - ½·2 = -0.5。",
    )


def unet_rows(steps: int, guided_steps: int) -> int:
    """Samples that pass through the U-Net for one picture: a guided step asks twice, with and without the prompt."""
    return steps + guided_steps


@exercise(
    unet_rows,
    "how often is the U-Net asked in a guided step, and how often in one that is not?",
    "引导的一步要问 U-Net 几次？不引导的一步呢？",
)
def check_unet_rows(answer: object, steps: int, guided_steps: int) -> Right:
    """Whether `answer` samples pass through the U-Net for one picture of `steps` steps, of which some are guided.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    right = unet_rows(steps, guided_steps)
    answer = number_of(answer)
    if answer == right:
        return Right(
            f"{guided_steps} steps ask twice and {steps - guided_steps} once: {right} instead of {2 * steps}.",
            f"{guided_steps} 步问两次，{steps - guided_steps} 步问一次：共 {right}，而不是 {2 * steps}。",
        )
    if answer == 2 * steps:
        raise Mistake(
            "That is guidance all the way. Outside the interval only the conditional half is asked.",
            "这是全程引导。区间之外只问有提示词的那一半。",
        )
    if answer == steps:
        raise Mistake(
            "A guided step asks the U-Net twice: with the prompt and with the empty one.",
            "引导的一步要问 U-Net 两次：一次带提示词，一次用空提示词。",
        )
    if answer == 2 * guided_steps:
        raise Mistake(
            "The steps outside the interval are still steps: each asks the U-Net once.",
            "区间之外的步也是步：每步要问 U-Net 一次。",
        )
    raise Mistake(
        f"{guided_steps} of the {steps} steps ask twice, the others once; that is not {answer:g}.",
        f"{steps} 步中有 {guided_steps} 步问两次，其余问一次；结果不是 {answer:g}。",
    )


def falling_scale(sigmas: Sequence[float], strongest: float) -> Callable[[float], float]:
    """A scale that is `strongest` at the noisiest step and comes down to 1 in proportion to the noise."""
    return lambda sigma: 1 + (strongest - 1) * min(1.0, sigma / sigmas[0])


@exercise(
    falling_scale,
    "any function of sigma will do to begin with, such as an interval: `return 5.0 if 0.28 < sigma < 5.4 else 1.0`. "
    "Then measure.",
    "先写任意一个 sigma 的函数，例如一个区间：`return 5.0 if 0.28 < sigma < 5.4 else 1.0`。然后测量。",
)
def check_scale(scale: Callable[[float], float], sigmas: Sequence[float], strongest: float) -> Right:
    """Whether `scale(sigma)` is a schedule of guidance that comes near to `strongest`, and not only stays there.

    How good it is only pictures can say.

    Args:
        sigmas: the noise levels of the steps, falling.

    Raises:
        Mistake, Unanswered: it is none; the message names the likely reason.
    """
    values = [float(number_of(called(scale, (sigma,), falling_scale(sigmas, strongest)))) for sigma in sigmas]
    shown = ", ".join(f"{value:.3g}" for value in values)
    levels = ", ".join(f"{sigma:.2g}" for sigma in sigmas)
    if not all(map(isfinite, values)):
        raise Mistake(f"At σ = {levels} it gives {shown}.", f"在 σ = {levels} 处得到 {shown}。")
    if min(values) < 0:
        raise Mistake(
            f"A scale below 0 leads away from the prompt; yours gives {shown}.",
            f"系数小于 0 会背离提示词；现在得到 {shown}。",
        )
    if min(values) < 1:
        raise Mistake(
            f"Off is 1, not less: at s = 0 the prompt is not followed at all. Yours gives {shown}.",
            f"不引导是 1，不是更小：s = 0 时完全不听提示词。现在得到 {shown}。",
        )
    if max(values) == 1:
        raise Mistake(
            f"It never guides. The steps are at σ = {levels}: it is asked for σ, not for a timestep.",
            f"从未引导。各步的 σ = {levels}：参数是 σ，不是时间步。",
        )
    if not strongest - 1 <= max(values) <= strongest:
        raise Mistake(
            f"The largest scale has to be between {strongest - 1:g} and {strongest:g}; yours gives {shown}.",
            f"最大的系数要在 {strongest - 1:g} 和 {strongest:g} 之间；现在得到 {shown}。",
        )
    if max(values) - min(values) < 1e-6:
        raise Mistake(
            "The same at all steps is plain guidance, with which yours is to be compared.",
            "每一步都相同就是普通的引导，也就是要拿来比较的对象。",
        )
    rows = len(values) + sum(value > 1 for value in values)
    return Right(
        f"A schedule. At σ = {levels} it guides with {shown}: {rows} samples through the U-Net for one picture. "
        "Is it any good? Measure below.",
        f"这是一个引导调度。在 σ = {levels} 处系数为 {shown}：一张图要过 {rows} 次 U-Net。好不好？看下面的测量。",
    )
