"""Checks of a formula: the learner's function against the right one, and against the likely wrong ones."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kolors_course.exercises.answers import as_shown, called, number_of
from kolors_course.exercises.feedback import Mistake

Formula = Callable[..., Any]


@dataclass(frozen=True)
class Slip:
    """A likely mistake: the formula that it makes, and what to say about it."""

    formula: Formula
    english: str
    chinese: str


def compare(formula: object, right: Formula, cases: Sequence[tuple], slips: Sequence[Slip]) -> None:
    """Return if `formula` agrees with `right` on all cases.

    Args:
        formula: the learner's, which may be anything.
        right: takes the numbers of a case, returns a number, a tensor or a tuple of tensors.
        slips: tried in order; one fits if it agrees with `formula` on all cases.

    Raises:
        Mistake: it does not agree; the message is that of the slip that fits, or shows a case that differs.
        Unanswered: it is still `...`.
    """
    wanted = [_tensors(right(*case)) for case in cases]
    answers = [
        _answer(called(formula, deepcopy(case), right), wish)
        for case, wish in zip(cases, wanted, strict=True)
    ]
    if _same(answers, wanted):
        return
    for slip in slips:
        if _same(answers, [_tensors(slip.formula(*case)) for case in cases]):
            raise Mistake(slip.english, slip.chinese)
    pairs = zip(cases, answers, wanted, strict=True)
    case, answer, wish = next(pair for pair in pairs if not _same([pair[1]], [pair[2]]))
    given = ", ".join(_shown(value) for value in case)
    found, due = (", ".join(_shown(value) for value in values) for values in (answer, wish))
    raise Mistake(
        f"For ({given}) the answer is {found}; right is {due}.",
        f"输入 ({given}) 时得到 {found}，应为 {due}。",
    )


def _answer(answer: object, wish: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The learner's answer as tensors of the shapes wanted."""
    if answer is None:
        raise Mistake(
            "The function gives back None: does every path return what it computed?",
            "函数返回的是 None：每条路径都 return 了计算结果吗？",
        )
    if len(wish) == 1:
        return (tensor_like(answer, wish[0]),)
    if not (isinstance(answer, (tuple, list)) and len(answer) == len(wish)):
        raise Mistake(
            f"Return {len(wish)} tensors, separated by commas; not {as_shown(answer)}.",
            f"请返回 {len(wish)} 个张量，用逗号隔开；现在返回的是 {as_shown(answer)}。",
        )
    return tuple(tensor_like(value, due) for value, due in zip(answer, wish, strict=True))


def tensor_like(value: object, due: Tensor) -> Tensor:
    """A number or tensor that the learner gave back, float64, if it has the shape of what is due.

    Raises:
        Mistake: it is neither, is complex, or has another shape.
    """
    if due.ndim == 0 and not isinstance(value, Tensor):
        value = number_of(value)
    try:
        found = torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise Mistake(
            f"The function gives back {as_shown(value)} where a tensor is wanted.",
            f"函数返回了 {as_shown(value)}，这里应该是张量。",
        ) from error
    if found.is_complex():
        raise Mistake("The answer is complex: of what is the root taken?", "答案是复数：是对什么开了方？")
    if found.shape != due.shape:
        raise Mistake(
            f"The answer has the shape {tuple(found.shape)}, not {tuple(due.shape)}: is a sum or a mean missing, "
            "or one too many?",
            f"答案的形状是 {tuple(found.shape)}，应为 {tuple(due.shape)}：是不是少了或多了一次求和/平均？",
        )
    return found.to("cpu", torch.float64)


def _tensors(values: object) -> tuple[Tensor, ...]:
    values = values if isinstance(values, (tuple, list)) else (values,)
    return tuple(torch.as_tensor(value, dtype=torch.float64).detach() for value in values)


def _same(first: Sequence[tuple[Tensor, ...]], second: Sequence[tuple[Tensor, ...]]) -> bool:
    pairs = [pair for one, other in zip(first, second, strict=True) for pair in zip(one, other, strict=True)]
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True) for a, b in pairs
    )


def _shown(value: object) -> str:
    if isinstance(value, (Tensor, int, float)):
        numbers = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
        text = ", ".join(f"{x:.4g}" for x in numbers[:4]) + (", …" if len(numbers) > 4 else "")
        return text if len(numbers) == 1 else f"[{text}]"
    return "f"
