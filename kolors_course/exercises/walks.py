"""Samplers with a mistake in them, each with its explanation: what a learner's own may turn out to be."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from kolors_course.diffusion import SamplerState, paths
from kolors_course.diffusion.steps import Model, Steps, Walk, sampler


@dataclass(frozen=True)
class MistakenWalk:
    """A sampler, and what to say to whom it belongs."""

    walk: Callable[..., Iterator[SamplerState]]
    english: str
    chinese: str


def _of_step(step: Callable[[Tensor, Tensor, float, float], Tensor]) -> Callable[..., Iterator[SamplerState]]:
    """A sampler that asks once: `step(x, x0, σ, σ_next)` is the next x."""

    @sampler(paths.spaced)
    def walk(model: Model, x: Tensor, steps: Steps) -> Walk:
        for i, σ, σ_next in steps:
            x = step(x, (yield from model.ask(x, i)), σ, σ_next)
        return x

    return walk


def _of_slopes(
    mix: Callable[[Tensor, Tensor], Tensor], *, level: int = 1, landing: float = 1.0
) -> Callable[..., Iterator[SamplerState]]:
    """A sampler that asks twice, as Heun's: `mix(first, second)` is the slope of the step.

    Args:
        level: at how many points further on the second question is asked.
        landing: after what share of Euler's step.
    """

    @sampler(paths.spaced)
    def walk(model: Model, x: Tensor, steps: Steps) -> Walk:
        for i, σ, σ_next in steps:
            x0 = yield from model.ask(x, i)
            slope = (x - x0) / σ
            if σ_next > 0:
                landed, there = x + landing * (σ_next - σ) * slope, (σ, σ_next)[level]
                slope = mix(slope, (landed - model.x0(landed, i + level)) / there)
            x = x + (σ_next - σ) * slope
        return x

    return walk


@sampler(paths.spaced)
def _turned_memory(model: Model, x: Tensor, steps: Steps) -> Walk:
    past: tuple[float, Tensor] | None = None
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        slope = ε = (x - x0) / σ
        if past and σ_next > 0:
            slope = ε - (σ_next - σ) / 2 * (ε - past[1]) / (σ - past[0])
        past = σ, ε
        x = x + (σ_next - σ) * slope
    return x


MISTAKEN = (
    MistakenWalk(
        _of_step(lambda x, x0, σ, σ_next: x - (σ_next - σ) * (x - x0) / σ),
        "The sign: that walks away from the data. The slope is (x - x0)/σ, which points away from x0; a step is "
        "plus (σ_next - σ) times it, and that is negative by itself, because the noise falls.",
        "符号错了：这样会远离数据。斜率是 (x - x0)/σ，背向 x0；一步是加上 (σ_next - σ) 乘斜率，"
        "噪声在减少，它本身就是负数。",
    ),
    MistakenWalk(
        _of_step(lambda x, x0, σ, σ_next: x + (σ_next - σ) * (x - x0)),
        "The slope is the noise of size one, ε = (x - x0)/σ: the division by σ is missing.",
        "斜率是大小为 1 的噪声 ε = (x - x0)/σ：漏了除以 σ。",
    ),
    MistakenWalk(
        _of_step(lambda x, x0, σ, σ_next: x + (σ_next - σ) * x0),
        "x0 is a place, not a slope. The slope is ε = (x - x0)/σ.",
        "x0 是位置，不是斜率。斜率是 ε = (x - x0)/σ。",
    ),
    MistakenWalk(
        _of_step(lambda x, x0, σ, σ_next: x0),
        "That jumps to the guess at once and asks there as if it were still noisy. A step keeps the share σ_next/σ "
        "of the noise.",
        "这是一步跳到猜测，却仍把它当作带噪的点来询问。一步应保留 σ_next/σ 的噪声。",
    ),
    MistakenWalk(
        _of_step(lambda x, x0, σ, σ_next: x),
        "x never changes: compute a new x in the loop, x = x + (σ_next - σ) * slope.",
        "x 一直没变：在循环里计算新的 x，即 x = x + (σ_next - σ) * slope。",
    ),
    MistakenWalk(
        _of_slopes(lambda first, second: first + second),
        "The mean of the two slopes, not their sum: half of it.",
        "是两个斜率的平均，不是和：还要除以 2。",
    ),
    MistakenWalk(
        _of_slopes(lambda first, second: second),
        "That uses the slope at the far end alone, which is of first order again. Take the mean of both, or ask "
        "in the middle of the step.",
        "只用终点的斜率，仍然是一阶。取两个斜率的平均，或者在步子的中点询问。",
    ),
    MistakenWalk(
        _of_slopes(lambda first, second: (first + second) / 2, level=0),
        "The second question is asked at the place of the far end, but told the noise level of the near one: "
        "model.x0(landed, i + 1), and divide by σ_next.",
        "第二次提问的位置在终点，噪声水平却用了起点的：应为 model.x0(landed, i + 1)，并除以 σ_next。",
    ),
    MistakenWalk(
        _of_slopes(lambda first, second: (first + second) / 2, landing=0.0),
        "The second question is asked where Euler's step lands, not at x again.",
        "第二次要在欧拉步到达的点上问，而不是还在 x 处。",
    ),
    MistakenWalk(
        _turned_memory,
        "The memory is turned round: the slope has to be carried on, from the last one through this one, into the "
        "step: ε + (σ_next - σ)/2 · (ε - ε_past)/(σ - σ_past).",
        "记忆用反了：应从上一个斜率经过这一个，继续外推到步子里：ε + (σ_next - σ)/2 · (ε - ε_past)/(σ - σ_past)。",
    ),
)
