"""Exercises of notebook 02: adding noise, reading v, and one step of DDIM."""

from collections.abc import Callable

import torch
from torch import Tensor

from kolors_course.diffusion import to_x0
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Right
from kolors_course.exercises.formulas import Slip, compare

_X0 = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
_NOISE = torch.tensor([[1.0, 0.5], [-1.0, 2.0]])


def noisy(x0: Tensor, noise: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """x_t = √ᾱ·x₀ + √(1-ᾱ)·ε (arXiv 2006.11239, eq. 4); `alpha_bar` is a number, or one for each sample, (B, 1)."""
    return alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise


@exercise(
    lambda: noisy,
    "the columns of the table above: what multiplies the picture, and what multiplies the noise.",
    "看上面表格的各列：画面乘多少，噪声乘多少。",
)
def check_add_noise(add_noise: Callable[[Tensor, Tensor, float], Tensor]) -> Right:
    """Whether `add_noise(x0, noise, alpha_bar)` is the closed form of the forward process.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    slips = (
        Slip(
            lambda x0, noise, a: a * x0 + (1 - a) * noise,
            "Without square roots the variance shrinks on the way: ᾱ² + (1-ᾱ)² < 1. ᾱ is a share of the variance.",
            "没有平方根，方差会在途中变小：ᾱ² + (1-ᾱ)² < 1。ᾱ 是方差的占比。",
        ),
        Slip(
            lambda x0, noise, a: (1 - a) ** 0.5 * x0 + a**0.5 * noise,
            "Swapped: ᾱ near 1 means almost clean.",
            "写反了：ᾱ 接近 1 表示几乎没有噪声。",
        ),
        Slip(
            lambda x0, noise, a: a**0.5 * x0 + (1 - a**0.5) * noise,
            "The noise gets √(1-ᾱ), not 1-√ᾱ: variances add up to 1, not standard deviations.",
            "噪声前是 √(1-ᾱ)，不是 1-√ᾱ：加起来等于 1 的是方差，不是标准差。",
        ),
        Slip(
            lambda x0, noise, a: a**0.5 * x0 + (1 - a) * noise,
            "The noise lacks its square root: 1-ᾱ is a variance.",
            "噪声前少了平方根：1-ᾱ 是方差。",
        ),
        Slip(
            lambda x0, noise, a: a * x0 + (1 - a) ** 0.5 * noise,
            "The picture lacks its square root: ᾱ is a share of the variance.",
            "画面前少了平方根：ᾱ 是方差的占比。",
        ),
        Slip(
            lambda x0, noise, a: x0 + ((1 - a) / a) ** 0.5 * noise,
            "That is the sigma scale, x₀ + σε, in which samplers think. The network is shown it times √ᾱ.",
            "这是采样器常用的 σ 尺度 x₀ + σε。给网络看的还要再乘 √ᾱ。",
        ),
        Slip(
            lambda x0, noise, a: a * x0 + (1 - a**2) ** 0.5 * noise,
            "That takes ᾱ for its root: 1-ᾱ² goes with ᾱ, but ᾱ is a variance already.",
            "这里把 ᾱ 当成了它的平方根：与 ᾱ 相配的才是 1-ᾱ²，而 ᾱ 本身已是方差。",
        ),
        Slip(
            lambda x0, noise, a: a**0.5 * x0 - (1 - a) ** 0.5 * noise,
            "Noise is added, with a plus: the sign matters, because the network has to name this noise.",
            "噪声是加上去的，用加号：符号有关系，因为网络要预测的就是这个噪声。",
        ),
        Slip(
            lambda x0, noise, a: (1 - a) * x0 + a * noise,
            "Swapped, and without square roots: ᾱ near 1 means almost clean, and ᾱ is a share of the variance.",
            "写反了，也没有平方根：ᾱ 接近 1 表示几乎没有噪声，而且 ᾱ 是方差的占比。",
        ),
        Slip(
            lambda x0, noise, a: a**0.5 * x0,
            "The noise is missing.",
            "漏了噪声。",
        ),
        Slip(
            lambda x0, noise, a: (1 - a) ** 0.5 * noise,
            "The picture is missing.",
            "漏了画面。",
        ),
    )
    levels = (0.36, 0.9, torch.tensor([[0.01], [0.5]]))
    compare(add_noise, noisy, [(_X0, _NOISE, a) for a in levels], slips)
    return Right(
        "By hand: ᾱ = 0.36 keeps 0.6 of the picture and adds 0.8 of the noise; 0.6² + 0.8² = 1.",
        "手算：ᾱ = 0.36 时保留 0.6 的画面，加上 0.8 的噪声；0.6² + 0.8² = 1。",
    )


def x0_from_v(x_t: Tensor, v: Tensor, a: float, b: float) -> Tensor:
    """x₀ of a v-prediction, where a = √ᾱ and b = √(1-ᾱ) (arXiv 2202.00512, appendix D)."""
    return to_x0(v, x_t, a, b, "v_prediction")


@exercise(
    lambda: x0_from_v,
    "write x_t and v with x₀ and ε, and add them with such weights that ε cancels.",
    "把 x_t 和 v 都用 x₀ 和 ε 写出来，再取适当的权重相加，让 ε 抵消。",
)
def check_x0_from_v(formula: Callable[[Tensor, Tensor, float, float], Tensor]) -> Right:
    """Whether `formula(x_t, v, a, b)` is the clean sample.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    levels = ((0.6, 0.8), (0.8, 0.6), (0.0, 1.0))
    cases = [(a * _X0 + b * _NOISE, a * _NOISE - b * _X0, a, b) for a, b in levels]
    slips = (
        Slip(
            lambda x, v, a, b: a * x + b * v,
            "The sign: put x_t = a·x₀ + b·ε and v = a·ε - b·x₀ in, and the noise has to cancel.",
            "符号不对：代入 x_t = a·x₀ + b·ε 和 v = a·ε - b·x₀，噪声项应当抵消。",
        ),
        Slip(
            lambda x, v, a, b: b * x + a * v,
            "That is ε, the noise: b·x_t + a·v.",
            "这是噪声 ε：b·x_t + a·v。",
        ),
        Slip(
            lambda x, v, a, b: (x - b * v) / a,
            "That reads v as if it were ε. It also divides by a, which is 0 at the end: v exists to avoid that.",
            "这是把 v 当成 ε 来读。而且除以了 a，末尾处 a = 0：v 正是为避免它而引入的。",
        ),
        Slip(
            lambda x, v, a, b: x - b * v,
            "That would be the x₀ of a flow-matching velocity. v = a·ε - b·x₀ asks for a·x_t - b·v.",
            "这是流匹配速度对应的 x₀。v = a·ε - b·x₀ 对应的是 a·x_t - b·v。",
        ),
        Slip(
            lambda x, v, a, b: (x - b * (b * x + a * v)) / a,
            "Right but for a = 0: it goes by way of ε and divides by a. With a² + b² = 1 the division goes.",
            "除了 a = 0 都对：它绕道 ε，要除以 a。用 a² + b² = 1 化简，除法就没有了。",
        ),
        Slip(
            lambda x, v, a, b: b * v - a * x,
            "That is -x₀: the signs are turned round.",
            "这是 -x₀：正负号反了。",
        ),
        Slip(
            lambda x, v, a, b: b * x - a * v,
            "a and b are swapped: x_t has a·x₀ in it, so x_t is taken a times.",
            "a 和 b 写反了：x_t 里含有 a·x₀，所以 x_t 要乘 a。",
        ),
        Slip(
            lambda x, v, a, b: a * x - v,
            "v is taken b times: only then does the noise cancel.",
            "v 还要乘 b：这样噪声才会抵消。",
        ),
        Slip(
            lambda x, v, a, b: a**2 * x - b**2 * v,
            "a and b are the roots already: no squares.",
            "a 和 b 已经是平方根：不用再平方。",
        ),
        Slip(
            lambda x, v, a, b: a**0.5 * x - b**0.5 * v,
            "a and b are the roots already: no further root.",
            "a 和 b 已经是平方根：不用再开方。",
        ),
    )
    compare(formula, x0_from_v, cases, slips)
    return Right(
        "By hand: a(a·x₀ + b·ε) - b(a·ε - b·x₀) = (a² + b²)x₀ = x₀. It holds at a = 0 too, where ε says nothing.",
        "手算：a(a·x₀ + b·ε) - b(a·ε - b·x₀) = (a² + b²)x₀ = x₀。a = 0 时也成立，而那时 ε 什么也没说。",
    )


def ddim_step(x_t: Tensor, epsilon: Tensor, alpha_bar: float, alpha_bar_next: float) -> Tensor:
    """One deterministic step of DDIM, from ᾱ to a larger ᾱ (arXiv 2010.02502, eq. 12 with σ_t = 0)."""
    x0 = to_x0(epsilon, x_t, alpha_bar**0.5, (1 - alpha_bar) ** 0.5, "epsilon")
    return noisy(x0, epsilon, alpha_bar_next)


@exercise(
    lambda: ddim_step,
    "first the x₀ that x_t and ε imply; then add noise to it again, with the same ε, at the next level.",
    "先由 x_t 和 ε 算出 x₀；再用同一个 ε，按下一级的水平重新加噪。",
)
def check_ddim_step(step: Callable[[Tensor, Tensor, float, float], Tensor]) -> Right:
    """Whether `step(x_t, epsilon, alpha_bar, alpha_bar_next)` is a step of DDIM.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    cases = [(noisy(_X0, _NOISE, a), _NOISE + 0.1, a, b) for a, b in ((0.36, 0.64), (0.01, 0.5), (0.9, 1.0))]

    def guess(x: Tensor, ε: Tensor, a: float) -> Tensor:
        return (x - (1 - a) ** 0.5 * ε) / a**0.5

    slips = (
        Slip(
            lambda x, ε, a, b: guess(x, ε, a),
            "That is x₀, the jump to the end: blurred. Put the noise back on, as much as the next level has.",
            "这是 x₀，一步跳到了终点：会模糊。还要把噪声加回去，加到下一级的水平。",
        ),
        Slip(
            lambda x, ε, a, b: b**0.5 * guess(x, ε, a),
            "The direction that points back to x_t is missing: + √(1-ᾱ_next)·ε.",
            "少了指回 x_t 的方向：+ √(1-ᾱ_next)·ε。",
        ),
        Slip(
            lambda x, ε, a, b: b**0.5 * guess(x, ε, a) + (1 - a) ** 0.5 * ε,
            "The noise goes back on at the *next* level: √(1-ᾱ_next), not √(1-ᾱ).",
            "噪声要按*下一级*加回去：√(1-ᾱ_next)，不是 √(1-ᾱ)。",
        ),
        Slip(
            lambda x, ε, a, b: noisy(guess(x, ε, b), ε, b),
            "So nothing moves. x_t is at the old level: x₀ = (x_t - √(1-ᾱ)·ε)/√ᾱ, with ᾱ and not ᾱ_next.",
            "这样什么都没动。x_t 在旧的一级：x₀ = (x_t - √(1-ᾱ)·ε)/√ᾱ，用 ᾱ 而不是 ᾱ_next。",
        ),
        Slip(
            lambda x, ε, a, b: noisy(guess(x, ε, b), ε, a),
            "Old and new level are swapped: x₀ is read at ᾱ, and noise is added at ᾱ_next.",
            "新旧两级写反了：用 ᾱ 求 x₀，用 ᾱ_next 加噪。",
        ),
        Slip(
            lambda x, ε, a, b: noisy((x + (1 - a) ** 0.5 * ε) / a**0.5, ε, b),
            "The noise is taken off x_t, with a minus: x₀ = (x_t - √(1-ᾱ)·ε)/√ᾱ.",
            "要从 x_t 里减去噪声，用减号：x₀ = (x_t - √(1-ᾱ)·ε)/√ᾱ。",
        ),
        Slip(
            lambda x, ε, a, b: noisy(guess(x, ε, a), -ε, b),
            "The noise goes back on with a plus.",
            "噪声加回去时用加号。",
        ),
        Slip(
            lambda x, ε, a, b: noisy(x - (1 - a) ** 0.5 * ε, ε, b),
            "The first half divides by √ᾱ: without noise x_t is √ᾱ·x₀, not x₀.",
            "前一半还要除以 √ᾱ：去掉噪声后的 x_t 是 √ᾱ·x₀，不是 x₀。",
        ),
        Slip(
            lambda x, ε, a, b: noisy((x - a**0.5 * ε) / (1 - a) ** 0.5, ε, b),
            "Swapped in the first half: √ᾱ goes with the picture, √(1-ᾱ) with the noise.",
            "前一半写反了：√ᾱ 配画面，√(1-ᾱ) 配噪声。",
        ),
        Slip(
            lambda x, ε, a, b: guess(x, ε, a) + (1 - b) ** 0.5 * ε,
            "x₀ is taken √ᾱ_next times at the next level.",
            "到下一级时，x₀ 还要乘 √ᾱ_next。",
        ),
        Slip(
            lambda x, ε, a, b: noisy(guess(x, ε, a), x, b),
            "What goes back on is the noise ε, not x_t.",
            "加回去的是噪声 ε，不是 x_t。",
        ),
        Slip(
            lambda x, ε, a, b: b * (x - (1 - a) * ε) / a + (1 - b) * ε,
            "The square roots: ᾱ and 1-ᾱ are variances, in both halves.",
            "少了平方根：ᾱ 和 1-ᾱ 是方差，前后两半都是。",
        ),
        *(
            Slip(
                formula,
                "The square roots of the first half: x_t = √ᾱ·x₀ + √(1-ᾱ)·ε, so both are roots.",
                "前一半少了平方根：x_t = √ᾱ·x₀ + √(1-ᾱ)·ε，两处都是根号。",
            )
            for formula in (
                lambda x, ε, a, b: noisy((x - (1 - a) * ε) / a, ε, b),
                lambda x, ε, a, b: noisy((x - (1 - a) * ε) / a**0.5, ε, b),
                lambda x, ε, a, b: noisy((x - (1 - a) ** 0.5 * ε) / a, ε, b),
            )
        ),
        *(
            Slip(
                formula,
                "The square roots of the second half: √ᾱ_next·x₀ + √(1-ᾱ_next)·ε, so both are roots.",
                "后一半少了平方根：√ᾱ_next·x₀ + √(1-ᾱ_next)·ε，两处都是根号。",
            )
            for formula in (
                lambda x, ε, a, b: b * guess(x, ε, a) + (1 - b) * ε,
                lambda x, ε, a, b: b**0.5 * guess(x, ε, a) + (1 - b) * ε,
                lambda x, ε, a, b: b * guess(x, ε, a) + (1 - b) ** 0.5 * ε,
            )
        ),
    )
    compare(step, ddim_step, cases, slips)
    return Right(
        "Say what is clean, say what is noise, mix them again at the next level: that is all of DDIM.",
        "说出哪些是画面，哪些是噪声，再按下一级重新混合：这就是 DDIM 的全部。",
    )
