"""The open task of notebook 02: a noise schedule of one's own, and the points that are drawn with it."""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor

from kolors_course.diffusion import NoiseSchedule, ddim
from kolors_course.exercises.answers import called
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.exercises.formulas import tensor_like
from kolors_course.theory import toys
from kolors_course.theory.measures import energy_distance, modes_covered, stray_share
from kolors_course.theory.teachers import eight_gaussians
from kolors_course.training.randomness import generator_for

TIMESTEPS, POINTS = 1000, 2000
# What the eight heaps ask of a schedule; heaps are 0.12 wide and their centres 1.15 apart.
CLEANEST, NOISIEST = 0.06, 200.0  # σ at the first timestep at most, and at the last
LEAST_SIGNAL = 0.01  # SNR at the last timestep at most
STEEPEST = 0.05  # of ᾱ, from a timestep to the next
PARTING, LEAST_PARTING = (0.1, 1.0), 0.2  # σ where heaps part, and the share of timesteps that belongs there


def cosine(u: Tensor) -> Tensor:
    """√ᾱ falls like a cosine (arXiv 2102.09672, section 3.2), and ends just before 0."""
    return torch.cos(1.55 * u) ** 2


@exercise(
    lambda: cosine,
    "any curve that falls from almost 1 to almost 0 is a beginning. Then look at σ = √((1-ᾱ)/ᾱ).",
    "任何从接近 1 降到接近 0 的曲线都可以作为开始。然后看看 σ = √((1-ᾱ)/ᾱ)。",
)
def check_own_schedule(alpha_bar: Callable[[Tensor], Tensor]) -> Right:
    """Whether `alpha_bar(u)`, for u (T,) from just above 0 to 1, is a schedule that suits the eight heaps.

    Raises:
        Mistake, Unanswered: it is not; the message says what would go wrong.
    """
    u = torch.arange(1, TIMESTEPS + 1) / TIMESTEPS
    ᾱ = tensor_like(called(alpha_bar, (u.clone(),), cosine), u)
    _refuse_what_is_none(u, ᾱ)
    σ = ((1 - ᾱ) / ᾱ).sqrt()
    _judge_ends(σ)
    _judge_middle(u, ᾱ, σ)
    share, kolors = _parting(σ), _parting(NoiseSchedule.kolors().sigmas)
    return Right(
        f"σ runs from {σ[0]:.3f} to {σ[-1]:.1f}, and {share:.0%} of the timesteps lie where heaps part (Kolors: "
        f"{kolors:.0%}). Now train on it.",
        f"σ 从 {σ[0]:.3f} 到 {σ[-1]:.1f}，有 {share:.0%} 的时间步落在各堆分开的区间（可图：{kolors:.0%}）。"
        "现在用它训练吧。",
    )


def _refuse_what_is_none(u: Tensor, ᾱ: Tensor) -> None:
    """Raise a `Mistake` if ᾱ is no schedule at all."""
    if not ᾱ.isfinite().all():
        at = float(u[~ᾱ.isfinite()][0])
        raise Mistake(f"At u = {at:g} ᾱ is not a number.", f"u = {at:g} 处 ᾱ 不是数。")
    if ᾱ[0] < ᾱ[-1]:
        raise Mistake(
            f"It rises, from {ᾱ[0]:.3g} to {ᾱ[-1]:.3g}: u near 0 is clean, where ᾱ is near 1.",
            f"它在上升，从 {ᾱ[0]:.3g} 到 {ᾱ[-1]:.3g}：u 接近 0 时是干净的，ᾱ 应接近 1。",
        )
    if (ᾱ >= 1).any():
        raise Mistake(
            f"At u = {float(u[ᾱ >= 1][0]):g} ᾱ is {float(ᾱ[ᾱ >= 1][0]):.4g}: with ᾱ = 1 there is no noise to name.",
            f"u = {float(u[ᾱ >= 1][0]):g} 处 ᾱ 是 {float(ᾱ[ᾱ >= 1][0]):.4g}：ᾱ = 1 时没有噪声可预测。",
        )
    if (ᾱ <= 0).any():
        raise Mistake(
            f"At u = {float(u[ᾱ <= 0][0]):g} ᾱ is {float(ᾱ[ᾱ <= 0][0]):.4g}. With ᾱ = 0 the SNR is 0, and x₀ = "
            "(x_t - √(1-ᾱ)·ε)/√ᾱ divides by 0. Stop a little above it.",
            f"u = {float(u[ᾱ <= 0][0]):g} 处 ᾱ 是 {float(ᾱ[ᾱ <= 0][0]):.4g}。ᾱ = 0 时信噪比为 0，"
            "x₀ = (x_t - √(1-ᾱ)·ε)/√ᾱ 会除以 0。请停在 0 之上一点。",
        )
    if (flat := ᾱ.diff() >= 0).any():
        at = float(u[1:][flat][0])
        raise Mistake(
            f"It has to fall at every timestep, but does not at u = {at:g}: two timesteps would share one noise "
            "level, or noise would be taken back.",
            f"每个时间步都必须下降，但 u = {at:g} 处没有：要么两个时间步噪声相同，要么噪声反而减少。",
        )


def _judge_ends(σ: Tensor) -> None:
    """Raise a `Mistake` if a schedule does not begin and end where it should."""
    if 1 / σ[-1] ** 2 > LEAST_SIGNAL:
        left = 1 / sqrt(float(σ[-1]) ** 2 + 1)
        raise Mistake(
            f"The terminal SNR is {1 / float(σ[-1]) ** 2:.2g}: √ᾱ ends at {left:.2f}, so {left:.0%} of the data are "
            f"still in the last timestep. Sampling begins with pure noise, which this network never saw. Bring the "
            f"SNR below {LEAST_SIGNAL:g}.",
            f"终端信噪比是 {1 / float(σ[-1]) ** 2:.2g}：√ᾱ 停在 {left:.2f}，最后一步里还留有 {left:.0%} 的数据。"
            f"采样从纯噪声开始，而网络从未见过纯噪声。请让信噪比低于 {LEAST_SIGNAL:g}。",
        )
    if σ[-1] > NOISIEST:
        raise Mistake(
            f"σ ends at {float(σ[-1]):.0f}. The network says ε, and its error is multiplied by σ in x₀: the first "
            f"steps of the way back would throw points far off. Stay below {NOISIEST:g}, or predict v.",
            f"σ 最后达到 {float(σ[-1]):.0f}。网络预测 ε，换算成 x₀ 时误差要乘以 σ：往回走的头几步会把点抛得很远。"
            f"请保持在 {NOISIEST:g} 以下，或者改为预测 v。",
        )
    if σ[0] > CLEANEST:
        raise Mistake(
            f"σ begins at {float(σ[0]):.3f}. The last step of sampling jumps from there to a mean, and heaps that "
            f"are {toys.BLOB_STD} wide come out too narrow. Begin below {CLEANEST:g}, which is ᾱ above "
            f"{1 / (1 + CLEANEST**2):.4f}.",
            f"σ 从 {float(σ[0]):.3f} 开始。采样的最后一步从那里跳到一个均值，宽 {toys.BLOB_STD} 的堆会变得太窄。"
            f"请从 {CLEANEST:g} 以下开始，即 ᾱ 大于 {1 / (1 + CLEANEST**2):.4f}。",
        )


def _judge_middle(u: Tensor, ᾱ: Tensor, σ: Tensor) -> None:
    """Raise a `Mistake` if a schedule hurries over what is to be learned."""
    falls = -ᾱ.diff()
    if falls.max() > STEEPEST:
        at = float(u[1:][falls.argmax()])
        raise Mistake(
            f"At u = {at:g} ᾱ falls by {float(falls.max()):.2f} at once. No timestep in between is trained, and the "
            "way back has to jump across. Spread the fall.",
            f"u = {at:g} 处 ᾱ 一次就下降 {float(falls.max()):.2f}。中间没有时间步可训练，"
            "往回走时只能一跳而过。请把下降摊开。",
        )
    share = _parting(σ)
    if share < LEAST_PARTING:
        low, high = PARTING
        raise Mistake(
            f"Only {share:.0%} of the timesteps have σ between {low:g} and {high:g}, where it is decided which heap "
            f"a point goes to. Training draws timesteps evenly, so give this part {LEAST_PARTING:.0%} at least.",
            f"只有 {share:.0%} 的时间步的 σ 在 {low:g} 到 {high:g} 之间，而点属于哪一堆正是在那里决定的。"
            f"训练均匀抽取时间步，所以这一段至少要占 {LEAST_PARTING:.0%}。",
        )


def _parting(σ: Tensor) -> float:
    """The share of timesteps at which heaps part."""
    return float(((σ > PARTING[0]) & (σ < PARTING[1])).float().mean())


def drawn_exactly(schedule: NoiseSchedule, to_beat: float = 1.0) -> Tensor:
    """What the perfect denoiser draws on a schedule, (`POINTS`, 2)."""
    start = torch.randn(POINTS, 2, generator=generator_for(0))
    *_, end = ddim(eight_gaussians().denoiser(schedule), start, schedule, 50, spacing="trailing")
    return end.sample


@exercise(
    drawn_exactly,
    "three lines: train on the points with your schedule, walk from `start` with ddim on the same schedule, keep the "
    "last state's sample.",
    "三行：用你的噪声调度在 points 上训练；用同一个调度，从 `start` 出发用 ddim 走；取最后一个状态的 sample。",
)
def check_own_drawing(points: Tensor, schedule: NoiseSchedule, to_beat: float) -> Right:
    """Whether points (`POINTS`, 2) that a network drew are the eight heaps, with fewer strays than a share `to_beat`.

    Raises:
        Mistake, Unanswered: they are not; the message names the likely reason.
    """
    found = tensor_like(points, torch.empty(POINTS, 2)).float()
    if not found.isfinite().all():
        raise Mistake(
            "Some points are not numbers: the way back blew up. How large is the schedule's last σ?",
            "有的点不是数：往回走时发散了。这个调度最后的 σ 有多大？",
        )
    centres, width = toys.eight_centres(), toys.BLOB_STD
    stray = stray_share(found, centres, width)
    _judge_shape(found, stray)
    if (reached := modes_covered(found, centres, width)) < len(centres):
        raise Mistake(f"Only {reached} of 8 heaps are reached.", f"8 堆里只到达了 {reached} 堆。")
    if stray >= to_beat:
        raise Mistake(
            f"All heaps are reached, but {stray:.0%} of the points stray; {to_beat:.0%} is to be beaten. Give more "
            f"timesteps to σ between {PARTING[0]:g} and {PARTING[1]:g}, and train as long as the other did.",
            f"各堆都到达了，但有 {stray:.0%} 的点游离在外；目标是低于 {to_beat:.0%}。请把更多时间步分给 σ 在 "
            f"{PARTING[0]:g} 到 {PARTING[1]:g} 之间的部分，并训练同样久。",
        )
    truth, _ = eight_gaussians().sample(POINTS, generator_for(1))
    off, ideal = (energy_distance(cloud, truth) for cloud in (found, drawn_exactly(schedule)))
    return Right(
        f"{stray:.0%} stray, where {to_beat:.0%} was to be beaten and 1 % is the truth. Energy distance to true "
        f"points: {off:.4f}; the perfect denoiser on your schedule has {ideal:.4f}.",
        f"{stray:.0%} 的点游离在外，目标是低于 {to_beat:.0%}，真实数据是 1 %。与真实点的能量距离：{off:.4f}；"
        f"完美去噪器用你的调度是 {ideal:.4f}。",
    )


def _judge_shape(points: Tensor, stray: float) -> None:
    """Raise a `Mistake` if points do not look like eight heaps at all."""
    distance = float(points.norm(dim=1).median())
    if distance < toys.RADIUS / 2:
        raise Mistake(
            f"Half of the points are within {distance:.2f} of the middle, where there are no data: this is the mean "
            "of all. Was it one step only?",
            f"一半的点离中心不到 {distance:.2f}，那里没有数据：这是所有数据的均值。是不是只走了一步？",
        )
    if stray > 0.6:
        raise Mistake(
            f"{stray:.0%} of the points lie in no heap. Is the walk on the schedule that the network was trained "
            "with, and was it trained?",
            f"{stray:.0%} 的点不在任何一堆里。采样用的调度和训练时的一样吗？网络训练过吗？",
        )
    inside = torch.cdist(points, toys.eight_centres()).min(dim=1).values
    width = float(inside.median()) / sqrt(2 * torch.log(torch.tensor(2.0)))
    if width < toys.BLOB_STD / 2:
        raise Mistake(
            f"The heaps are {width:.3f} wide and should be {toys.BLOB_STD}: the last step begins with too much "
            "noise. More steps, or a schedule that begins cleaner.",
            f"各堆宽 {width:.3f}，应为 {toys.BLOB_STD}：最后一步开始时噪声太大。增加步数，或让调度从更干净处开始。",
        )
