"""The open exercise of notebook 01: points that a generative model of one's own has drawn, measured and diagnosed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kolors_course.exercises.answers import as_shown
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right, fast
from kolors_course.theory.autoregressive import train_autoregressive
from kolors_course.theory.measures import energy_distance
from kolors_course.training.randomness import generator_for

FEWEST, MOST = 1000, 20_000  # points; the measures compare each with each
MOST_STRAY, MOST_BARE, MOST_COPIES, FARTHEST = 0.2, 0.2, 0.05, 0.004
_PIECE = 2000  # points whose distances are held at once


@dataclass(frozen=True)
class Judgement:
    """What there is to say of drawn points, beside points of the data that the model has not seen.

    Attributes:
        stray: share of drawn points further from the examples than 99 % of unseen data are.
        bare: share of the unseen data further from all drawn points than 99 % of them are from the examples.
        copies: share of drawn points that are examples, or unseen points.
        distance: the energy distance to the unseen data.
    """

    stray: float
    bare: float
    copies: float
    distance: float


def measured(drawn: Tensor, examples: Tensor, unseen: Tensor) -> Judgement:
    """Measure drawn points (N, 2) against `examples`, which the model has learned from, and `unseen` ones."""
    to_examples, usual = _to_nearest(drawn, examples), _to_nearest(unseen, examples)
    # As many points as there are examples would lie as near: fewer lie further apart, by the root.
    spread = max(1.0, len(examples) / len(drawn)) ** 0.5
    return Judgement(
        stray=float((to_examples > usual.quantile(0.99)).float().mean()),
        bare=float((_to_nearest(unseen, drawn) > spread * usual.quantile(0.99)).float().mean()),
        copies=float((to_examples.minimum(_to_nearest(drawn, unseen)) < 1e-6).float().mean()),
        distance=energy_distance(drawn, unseen),
    )


def _to_nearest(points: Tensor, others: Tensor) -> Tensor:
    """How far each of `points` (N, 2) is from the nearest of `others`, (N,)."""
    return torch.cat([torch.cdist(part, others).min(dim=1).values for part in points.split(_PIECE)])


def library_points(examples: Tensor, unseen: Tensor) -> Tensor:
    """2000 points of an autoregressive model, trained for some seconds."""
    model, _ = train_autoregressive(examples, generator=generator_for(0), steps=1000 if fast() else 4000)
    return model.sample(2000, generator_for(1))


@exercise(
    library_points,
    "train any model of this notebook on `ink_points` and draw 2000 points from it.",
    "用 `ink_points` 训练本课的任何一种模型，再画出 2000 个点。",
)
def check_own_model(points: object, examples: Tensor, unseen: Tensor) -> Right:
    """Whether `points` (N, 2) could have been drawn from what `examples` and `unseen` were drawn from.

    Raises:
        Mistake, Unanswered: they could not; the message says how they differ.
    """
    drawn = _cloud(points)
    found = measured(drawn, examples, unseen)
    numbers = (
        f"{found.stray:.0%} of your points lie beside the strokes (of the data: 1 %), {found.bare:.0%} of the "
        f"strokes are bare, energy distance {found.distance:.4f}"
    )
    numbers_zh = (
        f"{found.stray:.0%} 的点落在笔画外（数据本身 1 %），{found.bare:.0%} 的笔画是空的，"
        f"能量距离 {found.distance:.4f}"
    )
    if trouble := _trouble(drawn, unseen, found):
        raise Mistake(f"{trouble[0]} ({numbers}.)", f"{trouble[1]}（{numbers_zh}。）")
    return Right(
        f"The word can be read: {numbers}. Can another model, or more steps, bring that down?",
        f"字能认出来了：{numbers_zh}。换一种模型，或者多训练几步，还能更低吗？",
    )


def _cloud(points: object) -> Tensor:
    """The learner's points, as numbers that can be measured."""
    if callable(points):
        raise Mistake(
            f"That is {as_shown(points)}, a model or a function; wanted are the points that it draws.",
            f"这是 {as_shown(points)}，是模型或函数；需要的是它画出的点。",
        )
    if not isinstance(points, Tensor) or points.ndim != 2 or points.shape[1] != 2:
        raise Mistake(
            f"That is {as_shown(points)}; wanted is one tensor of points, of the shape (2000, 2).",
            f"这是 {as_shown(points)}；需要一个由点组成的张量，形状为 (2000, 2)。",
        )
    if not FEWEST <= len(points) <= MOST:
        raise Mistake(
            f"{len(points)} points: give from {FEWEST} to {MOST}, for fewer say little and more take long.",
            f"{len(points)} 个点：请给 {FEWEST} 到 {MOST} 个；太少说明不了什么，太多要算很久。",
        )
    if points.is_complex() or not points.isfinite().all():
        raise Mistake(
            "Not all points are finite numbers: has the training blown up? Look at the losses.",
            "有的点不是有限的数：训练发散了吗？看看损失。",
        )
    return points.detach().to("cpu", torch.float32)


def _trouble(drawn: Tensor, unseen: Tensor, found: Judgement) -> tuple[str, str] | None:
    """The first thing that is wrong with the points, most telling first; None if nothing is."""
    if found.copies > MOST_COPIES:
        return (
            f"{found.copies:.0%} of these points were in the data: that is a copy, not a model.",
            f"{found.copies:.0%} 的点就是数据里的点：这是复制，不是模型。",
        )
    if found.distance < FARTHEST and found.stray < MOST_STRAY and found.bare < MOST_BARE:
        return None
    scale = drawn.std(dim=0) / unseen.std(dim=0)
    if found.bare > 0.5 and scale.max() < 0.5:
        return (
            "All points are crowded in one place: mode collapse, or a solver that stopped too early.",
            "所有的点挤在一处：模式坍塌，或者求解器停得太早。",
        )
    if found.bare >= MOST_BARE and found.stray < MOST_STRAY:
        return (
            "What is there is right, but a part of the word is missing.",
            "画出来的部分是对的，但字缺了一块。",
        )
    if found.stray < MOST_STRAY:
        return (
            "The strokes are there, but some have too many points and others too few. More steps, or another model?",
            "笔画都有了，但有的点太多，有的太少。多训练几步，或者换一种模型？",
        )
    shift = (drawn.mean(dim=0) - unseen.mean(dim=0)).abs().max()
    if shift > 0.3 or scale.max() > 1.5 or scale.min() < 0.67:
        return (
            "Place or size of the cloud is wrong: is something scaled, does time run the wrong way, or not to 0?",
            "点云的位置或大小不对：是不是缩放过，时间方向反了，或者最后没有到 t = 0？",
        )
    return (
        "Place and size are right, the strokes are not: too much lies beside them. More steps, or another model?",
        "位置和大小对了，笔画还不对：落在外面的点太多。多训练几步，或者换一种模型？",
    )
