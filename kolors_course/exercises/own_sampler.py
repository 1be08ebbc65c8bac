"""The open exercise of notebook 03: a sampler of one's own, measured where the exact answer is known."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from math import log2

import torch
from torch import Tensor

from kolors_course.diffusion import SamplerState, dpmpp_2m, euler, heun, paths, unipc
from kolors_course.diffusion.steps import Model, Steps, Walk, sampler
from kolors_course.exercises.answers import as_shown, called, is_open, number_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right, Unanswered
from kolors_course.exercises.walks import MISTAKEN, MistakenWalk
from kolors_course.theory.convergence import even_schedule
from kolors_course.theory.quantiles import quantile_path
from kolors_course.theory.teachers import Mixture

AnySampler = Callable[..., Iterator[SamplerState]]

STEPS = (40, 80, 160)  # by which the order is measured
CALLS = 120  # of the network, at which errors are compared
_STEPS_OF_CALLS = (10, 20, 30, 40, 60, 120)  # whose points meet at one level
_STOP = 95  # the timestep of that level, σ = 0.08
_ROUNDING = 1e-7  # timesteps are float32: errors below tell nothing of a method
_HEAPS = Mixture(torch.tensor([[-1.4], [0.2], [1.4]]).double(), 0.12, torch.tensor([0.4, 0.2, 0.4]))
_STARTS = torch.tensor([[-2.0], [-1.3], [-0.9], [-0.1], [0.3], [1.1], [1.8]]).double()


@dataclass(frozen=True, eq=False)
class Trial:
    """One run on the three heaps.

    Attributes:
        calls: of the network.
        error: root mean square, against the exact answer, at the last level of σ ≥ 0.08 that it visits.
        end: where the points are there, (B,).
        finite: whether all that it yields are numbers.
    """

    calls: int
    error: float
    end: Tensor
    finite: bool


@sampler(paths.spaced)
def remembered_slope(model: Model, x: Tensor, steps: Steps) -> Walk:
    """Adams and Bashforth's method of second order: the slope in the middle of a step, extrapolated from the last two
    (as PNDM's linear multistep, arXiv 2202.09778, but for steps of any size).
    """
    past: tuple[float, Tensor] | None = None
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        slope = ε = (x - x0) / σ
        if past and σ_next > 0:
            σ_past, ε_past = past
            slope = ε + (σ_next - σ) / 2 * (ε - ε_past) / (σ - σ_past)
        past = σ, ε
        x = x + (σ_next - σ) * slope
    return x


@exercise(
    lambda order, calls: remembered_slope,
    "begin with Euler's walk: for i, σ, σ_next in steps: x0 = yield from model.ask(x, i); "
    "x = x + (σ_next - σ) * (x - x0) / σ; at the end return x. Then improve the slope: remember the last one, or ask "
    "a second time.",
    "先写欧拉法：for i, σ, σ_next in steps: x0 = yield from model.ask(x, i); "
    "x = x + (σ_next - σ) * (x - x0) / σ；最后 return x。然后改进斜率：记住上一步的斜率，或者再问一次。",
)
def check_sampler(mine: AnySampler, order: float, calls: float) -> Right:
    """Whether a sampler converges as its author claims, and beats Euler's at equal calls of the network.

    Args:
        mine: has the library's sampler signature (`kolors_course.diffusion.samplers`).
        order, calls: claimed: the order of convergence, and network calls a step.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    order, calls = number_of(order), number_of(calls)
    _is_written(mine)
    trials = {steps: run(mine, steps) for steps in STEPS}
    _asks(trials, calls)
    _takes_no_known_wrong_way(trials[STEPS[0]])
    found = _converges(trials, order, calls)
    return _compared(mine, found, round(calls))


def run(walk: AnySampler, steps: int) -> Trial:
    """Draw with a sampler on the three heaps.

    Raises:
        Mistake: it stops, or does not yield what samplers yield.
    """
    schedule, asked = even_schedule(), 0
    perfect = _HEAPS.denoiser(schedule)

    def denoise(sample: Tensor, timestep: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return perfect(sample, timestep)

    @wraps(walk)
    def whole(*case: object) -> object:
        states = walk(*case, spacing="trailing")
        return states if is_open(states) else list(states)

    whole.__signature__ = inspect.signature(_like)  # type: ignore[attr-defined]
    states = _states(called(whole, (denoise, _STARTS.clone(), schedule, steps), _like), steps)
    level = float(schedule.sigmas[_STOP]) * 0.999
    first, last = states[0], [state for state in states if state.sigma > level][-1]
    start, end = (state.sample * (state.sigma**2 + 1) ** 0.5 for state in (first, last))
    exact = quantile_path(_HEAPS, start, first.sigma, last.sigma)
    finite = all(bool(state.sample.isfinite().all()) for state in states)
    return Trial(asked, float((end - exact).square().mean().sqrt()), end, finite)


def _like(denoise: object, latents: object, schedule: object, num_inference_steps: object) -> None:
    """How samplers are called."""


def _is_written(mine: AnySampler) -> None:
    if not callable(mine):
        raise Mistake(
            f"The answer is {as_shown(mine)}, not a function: it has to begin with def.",
            f"答案是 {as_shown(mine)}，不是函数：应当以 def 开头。",
        )
    try:
        inspect.signature(mine).bind(None, None, None, 1, spacing="trailing")
    except TypeError as error:
        raise Mistake(
            "A sampler is called as sampler(denoise, latents, schedule, num_inference_steps, spacing=...). "
            "@sampler(paths.spaced) above a function of (model, x, steps) makes one of it.",
            "采样器的调用方式是 sampler(denoise, latents, schedule, num_inference_steps, spacing=...)。"
            "在 (model, x, steps) 的函数上面写 @sampler(paths.spaced)，就得到一个采样器。",
        ) from error
    step = inspect.unwrap(mine)
    if step is mine or inspect.isgeneratorfunction(step):
        return
    try:
        answer = step(None, None, ())
    except Exception:  # it is called only to see whether it is still empty
        answer = None
    if is_open(answer):
        raise Unanswered
    raise Mistake(
        "The network is never asked. Write x0 = yield from model.ask(x, i): the state goes out, and x₀ comes back.",
        "网络从未被询问。请写 x0 = yield from model.ask(x, i)：它交出当前状态，并给你 x₀。",
    )


def _states(states: object, steps: int) -> list[SamplerState]:
    """What a sampler yielded, if that is what samplers yield."""
    if not isinstance(states, list) or not all(isinstance(state, SamplerState) for state in states):
        raise Mistake(
            f"A sampler yields states (SamplerState), not {as_shown(states)}. With @sampler(paths.spaced) above it, "
            "x0 = yield from model.ask(x, i) does that for you.",
            f"采样器应逐个给出状态（SamplerState），而不是 {as_shown(states)}。加上 @sampler(paths.spaced)，"
            "再写 x0 = yield from model.ask(x, i)，就会自动给出。",
        )
    if len(states) != steps + 1 or states[-1].sigma != 0:
        raise Mistake(
            f"{steps} steps have {steps + 1} states, the last with σ = 0; yours has {len(states)}. Ask with "
            "`yield from model.ask(x, i)` once in every step; a second question is model.x0(x, i).",
            f"{steps} 步应有 {steps + 1} 个状态，最后一个 σ = 0；你的有 {len(states)} 个。每一步用 "
            "`yield from model.ask(x, i)` 问一次；第二次提问用 model.x0(x, i)。",
        )
    return states


def _asks(trials: dict[int, Trial], calls: float) -> None:
    steps, trial = list(trials.items())[-1]
    found = trial.calls / steps
    if round(found) != calls:
        raise Mistake(
            f"You claim {calls:g} network calls a step; {steps} steps made {trial.calls}: {found:.3g} a step.",
            f"你声称每步调用网络 {calls:g} 次；而 {steps} 步共调用了 {trial.calls} 次，即每步 {found:.3g} 次。",
        )


def _takes_no_known_wrong_way(trial: Trial) -> None:
    known = (
        MistakenWalk(
            euler,
            "That is Euler's method, and it works: first order. Now give it a memory or a second look.",
            "这就是欧拉法，是对的：一阶。现在给它加上记忆，或者再看一次。",
        ),
        MistakenWalk(
            heun,
            "That is Heun's method, and it works: exercise 1 as a sampler. Now one of your own: can you do with one "
            "call a step?",
            "这就是 Heun 法，是对的：就是练习 1。现在写一个自己的：每步只调用一次，能做到吗？",
        ),
        *MISTAKEN,
    )
    for one in known:
        if _same(trial, run(one.walk, STEPS[0])):
            raise Mistake(one.english, one.chinese)
    if not trial.finite:
        raise Mistake(
            "There are values that are no numbers (nan or inf): what is divided by σ_next, 0 in the last step?",
            "出现了 nan 或 inf：最后一步 σ_next = 0，是不是用它做了除数？",
        )


def _converges(trials: dict[int, Trial], order: float, calls: float) -> float:
    """The order found, if it is the one claimed."""
    errors = [max(trial.error, _ROUNDING) for trial in trials.values()]
    # The better of two halvings: the first may still be too coarse, the second already in the rounding.
    found = max(log2(error / smaller) for error, smaller in pairwise(errors))
    exact = errors[-1] <= _ROUNDING
    shown = ", ".join(f"{trial.error:.1e}" for trial in trials.values())
    if found < 0.5 and not exact:
        raise Mistake(
            f"More steps do not help: with {STEPS} steps the errors are {shown}. So it follows another equation. "
            "The slope is (x - x0)/σ, with the x and the σ for which that x0 was answered; a step is σ_next - σ "
            "times it.",
            f"步数增加，误差却不减：{STEPS} 步的误差是 {shown}。说明它解的是另一个方程。斜率是 (x - x0)/σ，"
            "其中 x 和 σ 是询问该 x0 时的值；一步是斜率乘以 σ_next - σ。",
        )
    if found < order - 0.35 and not exact:
        why, why_zh = _why_low(calls)
        raise Mistake(
            f"You claim order {order:g}; with {STEPS} steps the errors are {shown}: order {found:.1f}. {why}",
            f"你声称 {order:g} 阶；{STEPS} 步的误差是 {shown}，即 {found:.1f} 阶。{why_zh}",
        )
    return found


def _why_low(calls: float) -> tuple[str, str]:
    if calls == 1:
        return (
            "With one call a step, a higher order needs a memory: is the last slope kept after every step, with its "
            "σ, and is the slope carried on from it into the middle of the new step?",
            "每步只调用一次时，高阶需要记忆：每步之后保存了斜率和它的 σ 吗？是否由此外推到新一步的中点？",
        )
    return (
        "Is the second question asked where the first step lands, at the level of that place "
        "(model.x0(landed, i + 1), or model.x0_at(x, σ))? Does its slope divide by that same σ?",
        "第二次是在第一步到达的点、用那里的噪声水平问的吗（model.x0(landed, i + 1) 或 model.x0_at(x, σ)）？"
        "它的斜率是除以同一个 σ 吗？",
    )


def _compared(mine: AnySampler, order: float, calls: int) -> Right:
    """The verdict, with errors at equal calls."""
    errors = {
        name: run(walk, max(n for n in _STEPS_OF_CALLS if n * per_step <= max(CALLS, 10 * per_step))).error
        for name, walk, per_step in (("Euler", euler, 1), ("Heun", heun, 2), ("yours", mine, calls))
    }
    shown = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    if errors["yours"] >= errors["Euler"]:
        raise Mistake(
            f"The order is as claimed, but at {CALLS} calls the errors are {shown}: what it asks does not pay.",
            f"阶与声称的一致，但 {CALLS} 次调用时误差为 {shown}：多问的这些次不划算。",
        )
    ends = run(mine, STEPS[0])
    twin = next((name for name, walk in _TWINS.items() if _same(ends, run(walk, STEPS[0]))), None)
    also, also_zh = (f" It walks as {twin} does.", f"它与 {twin} 走得一样。") if twin else ("", "")
    better = "before" if errors["yours"] < errors["Heun"] else "behind"
    better_zh = "优于" if better == "before" else "不及"
    return Right(
        f"Measured order {order:.1f}. Errors on the three heaps at {CALLS} network calls: {shown}. It is {better} "
        f"Heun's.{also}",
        f"测得 {order:.1f} 阶。三堆数据上 {CALLS} 次网络调用的误差：{shown}。它{better_zh} Heun 法。{also_zh}",
    )


_TWINS = {"DPM-Solver++(2M)": dpmpp_2m, "UniPC": unipc}


def _same(one: Trial, other: Trial) -> bool:
    return torch.allclose(one.end, other.end, rtol=1e-5, atol=1e-7, equal_nan=True)
