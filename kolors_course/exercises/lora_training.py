"""Exercises of notebook 09: the strength of a LoRA, how many steps make an epoch, and when a training stops."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from kolors_course.exercises.answers import called, number_of
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.exercises.formulas import Slip, compare
from kolors_course.lora import lora_scale
from kolors_course.training.validation import BestSoFar

CAMP_STEPS_PER_EPOCH = 500  # the default of the camp's --steps_per_epoch, whatever the data set


@exercise(
    lambda: lora_scale,
    "notebook 08, section 3: what stands in front of B A x?",
    "见笔记本 08 第 3 节：B A x 前面是什么？",
)
def check_lora_scale(scale: object) -> Right:
    """Whether `scale(rank, alpha)` is the factor in front of B @ A.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    cases = ((16, 4.0), (16, 16.0), (4, 4.0), (8, 32.0))
    slips = (
        Slip(
            lambda rank, alpha: rank / alpha,
            "It is upside down: a larger alpha makes the LoRA stronger.",
            "分子分母反了：alpha 越大，LoRA 越强。",
        ),
        Slip(
            lambda rank, alpha: alpha,
            "The rank is left out. That would make the camp's LoRA sixteen times too strong.",
            "漏了 rank。这样训练营的 LoRA 会变成十六倍强度。",
        ),
        Slip(
            lambda rank, alpha: alpha / math.sqrt(rank),
            "alpha/√rank is rsLoRA (arXiv 2312.03732); plain LoRA divides by the rank itself.",
            "alpha/√rank 是 rsLoRA（arXiv 2312.03732）；普通 LoRA 直接除以 rank。",
        ),
        Slip(
            lambda rank, alpha: rank * alpha,
            "A product would make a LoRA of higher rank stronger. B·A is a sum of rank pieces; the division takes "
            "their mean.",
            "用乘法，rank 越大 LoRA 就越强。B·A 是 rank 项之和，除以 rank 就是取平均。",
        ),
    )
    compare(scale, lora_scale, cases, slips)
    return Right(
        "alpha/rank: 4/16 = 0.25 is what the camp trained with.",
        "alpha/rank：训练营训练时用的是 4/16 = 0.25。",
    )


def repair_strength(rank: int, trained_alpha: float, loaded_alpha: float) -> float:
    """The strength at which a LoRA that is loaded with the wrong alpha acts as it was trained."""
    return lora_scale(rank, trained_alpha) / lora_scale(rank, loaded_alpha)


@exercise(
    repair_strength,
    "the tool applies strength x (the scale it takes for right); what must that give?",
    "工具用的是 强度 ×（它以为的缩放）；结果应该等于什么？",
)
def check_repair_strength(answer: object, rank: int, trained_alpha: float, loaded_alpha: float) -> Right:
    """Whether strength `answer` brings a LoRA that a tool loads with the wrong alpha back to its trained strength.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    answer, right = number_of(answer), repair_strength(rank, trained_alpha, loaded_alpha)
    if _close(answer, right):
        return Right(
            f"{right:g} x {loaded_alpha:g}/{rank} = {trained_alpha:g}/{rank}. "
            "A file that says its alpha needs no repair.",
            f"{right:g} × {loaded_alpha:g}/{rank} = {trained_alpha:g}/{rank}。文件里写明 alpha，就不需要补救。",
        )
    if _close(answer, 1 / right):
        raise Mistake(
            "That makes the error twice as bad: the LoRA is already too weak, so it needs more than 1.",
            "这样会错上加错：LoRA 已经偏弱，强度要大于 1。",
        )
    if _close(answer, lora_scale(rank, trained_alpha)):
        raise Mistake(
            "That is the trained scale itself. The strength multiplies what the tool already applies.",
            "这是训练时的缩放本身。强度是乘在工具已经用的缩放上的。",
        )
    raise Mistake(
        f"strength x {loaded_alpha:g}/{rank} has to give {trained_alpha:g}/{rank}; with {answer:g} it gives "
        f"{answer * lora_scale(rank, loaded_alpha):g}.",
        f"强度 × {loaded_alpha:g}/{rank} 应等于 {trained_alpha:g}/{rank}；用 {answer:g} 得到 "
        f"{answer * lora_scale(rank, loaded_alpha):g}。",
    )


def steps_for_epochs(pictures: int, batch_size: int, epochs: int, gradient_accumulation: int = 1) -> int:
    """Optimizer steps after which each of `pictures` has been drawn at least `epochs` times."""
    return math.ceil(pictures * epochs / (batch_size * gradient_accumulation))


@exercise(
    lambda: steps_for_epochs,
    "how many pictures are to be used in all, and how many does one step use? The last step may be half empty.",
    "总共要用多少张图？一步用几张？最后一步可以不满。",
)
def check_steps_for_epochs(steps: object) -> Right:
    """Whether `steps(pictures, batch_size, epochs, gradient_accumulation)` agrees with `steps_for_epochs`.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    cases = ((48, 8, 20, 1), (48, 1, 10, 4), (50, 8, 1, 1), (48, 8, 1, 2))
    for case in cases:
        answer, right = number_of(called(steps, case, steps_for_epochs)), steps_for_epochs(*case)
        if answer != right:
            raise Mistake(*_steps_mistake(answer, right, *case))
    return Right(
        "Pictures times epochs, over the pictures of one step, rounded up.",
        "图片数乘以轮数，除以每一步用的图片数，向上取整。",
    )


def _steps_mistake(
    answer: float, right: int, pictures: int, batch_size: int, epochs: int, accumulation: int
) -> tuple[str, str]:
    needed = pictures * epochs
    if answer == CAMP_STEPS_PER_EPOCH * epochs:
        return (
            f"The camp calls {CAMP_STEPS_PER_EPOCH} steps an epoch whatever the data; here every picture must come.",
            f"训练营不管数据多少都把 {CAMP_STEPS_PER_EPOCH} 步叫做一轮；这里要求每张图都用到。",
        )
    if accumulation > 1 and answer == math.ceil(needed / batch_size):
        return (
            f"That counts batches. One optimizer step gathers the gradients of {accumulation} batches.",
            f"这是批次数。优化器每一步会累积 {accumulation} 个批次的梯度。",
        )
    if answer == needed:
        return (
            "That counts pictures. One step uses batch_size of them.",
            "这是图片的张数。一步会用掉 batch_size 张。",
        )
    if answer == needed // (batch_size * accumulation):
        return (
            f"Rounding down leaves out the last {needed % (batch_size * accumulation)} pictures; round up.",
            f"向下取整会漏掉最后 {needed % (batch_size * accumulation)} 张图；请向上取整。",
        )
    if answer % 1:
        return (
            f"There is no such thing as {answer} steps: round up.",
            f"没有 {answer} 步这回事：请向上取整。",
        )
    return (
        f"{pictures} pictures, batches of {batch_size}, {epochs} epochs, {accumulation} batches a step: "
        f"{answer} steps draw {answer * batch_size * accumulation} pictures, but {needed} are wanted.",
        f"{pictures} 张图，每批 {batch_size} 张，{epochs} 轮，每步 {accumulation} 批：{answer} 步用 "
        f"{answer * batch_size * accumulation} 张图，而需要的是 {needed} 张（{right} 步）。",
    )


def early_stop(losses: Sequence[float], patience: int) -> tuple[int, int]:
    """Which validation was the best, and after which the training stops, counted from 0."""
    best = BestSoFar()
    for i, loss in enumerate(losses):
        best.update(i, loss, {})
        if best.misses >= patience:
            break
    return best.step, i


def _stop(
    losses: Sequence[float], patience: int, improves: Callable[[int, float, float], bool]
) -> tuple[int, int]:
    """`early_stop`, where `improves(i, loss, lowest)` says which validation is a better one."""
    best, lowest, misses = 0, math.inf, 0
    for i, loss in enumerate(losses):
        if improves(i, loss, lowest):
            best, misses = i, 0
        else:
            misses += 1
        lowest = min(lowest, loss)
        if misses >= patience:
            return best, i
    return best, len(losses) - 1


@exercise(
    lambda: early_stop,
    "go through the losses one by one; keep the best so far, and count those in a row that were not better.",
    "逐个看损失；记住目前最好的，并数一数连续多少次没有变好。",
)
def check_early_stop(stop: object) -> Right:
    """Whether `stop(losses, patience)` gives the best validation and the one after which the training stops.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    cases = (
        ([5.0, 4.0, 3.0, 3.5, 3.2, 3.3, 2.0], 3),
        ([5.0, 4.0, 4.5, 3.0, 3.1, 3.2, 3.3, 3.4], 2),
        ([5.0, 4.0, 3.0], 3),
        ([1.0, 1.0, 1.0], 2),
    )
    slips = (
        Slip(
            lambda losses, patience: (int(np.argmin(losses)), len(losses) - 1),
            "Nothing stops: after `patience` validations in a row without a better one the training ends, and what "
            "would have come later is never seen.",
            "没有停下来：连续 patience 次没有变好，训练就结束，之后的损失根本看不到。",
        ),
        Slip(
            lambda losses, patience: _stop(losses, patience, lambda i, x, low: i == 0 or x < losses[i - 1]),
            "Each loss is compared with the one before it. Compare it with the best of all so far: a loss that falls "
            "from 3.5 to 3.2 is no gain if there has been a 3.",
            "每个损失都只和前一个比。要和目前最好的比：如果已经有过 3，那么从 3.5 降到 3.2 不算变好。",
        ),
        Slip(
            lambda losses, patience: _stop(losses, patience, lambda i, x, low: x <= low),
            "An equal loss is not a better one: it counts as a miss.",
            "相等不算变好，要算一次落空。",
        ),
        Slip(
            lambda losses, patience: _stop(losses, patience + 1, lambda i, x, low: x < low),
            "One too late: the training stops as soon as `patience` validations in a row were not better.",
            "晚了一次：连续 patience 次没有变好，立刻停止。",
        ),
        Slip(
            lambda losses, patience: early_stop(losses, patience)[::-1],
            "The two have changed places: first the best one, then the one after which it stops.",
            "两个数的位置反了：先是最好的那次，再是停下的那次。",
        ),
    )
    compare(stop, early_stop, cases, slips)
    return Right(
        "By hand: 5, 4, 3, 3.5, 3.2, 3.3 with a patience of 3: the best is number 2, and after number 5 it stops. "
        "The 2 that would have come is the price.",
        "手算：5, 4, 3, 3.5, 3.2, 3.3，patience 为 3：最好的是第 2 次，第 5 次后停止。后面本来会有的 2 就是代价。",
    )


def _close(answer: float, right: float) -> bool:
    return math.isclose(answer, right, rel_tol=1e-6)
