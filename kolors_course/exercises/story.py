"""Exercises of notebook 10: the faults of a storyboard, shared attention, and the order in which a page is read."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kolors_course.art import find_subject
from kolors_course.art.facts import read_facts
from kolors_course.errors import CourseError
from kolors_course.exercises.answers import as_shown, called
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.exercises.formulas import Slip, compare

PageBox = tuple[float, float, float, float]  # left, top, width, height


UNKNOWN, MANY, DIFFERS, TWICE = FAULTS = (
    "unknown subject",
    "too many subjects",
    "prompt differs",
    "scene twice",
)


def storyboard_faults(panels: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """What is wrong with which panel, counted from 1: one of `FAULTS`.

    Args:
        panels: each a prompt, and a scene of subjects, place and time.
    """
    found: dict[int, str] = {}
    seen: list[Mapping[str, Any]] = []
    for number, panel in enumerate(panels, start=1):
        if fault := _fault(panel["prompt"], panel["scene"]):
            found[number] = fault
        elif panel["scene"] in seen:
            found[number] = TWICE
        seen.append(panel["scene"])
    return found


def _fault(prompt: str, scene: Mapping[str, Any]) -> str | None:
    if len(scene["subjects"]) > 2:
        return MANY
    try:
        subjects = {find_subject(name).en for name in scene["subjects"]}
    except CourseError:
        return UNKNOWN
    said = read_facts(prompt)
    wanted = {"subject": subjects, "place": {scene["place"]}, "time": {scene["time"]}}
    return None if all(said[fact] == values for fact, values in wanted.items()) else DIFFERS


@exercise(
    storyboard_faults,
    "read each prompt beside its scene: does `kolors-course words` list every subject, are there at most two, "
    "do place and time agree, and has the scene come before?",
    "逐格对照提示词和场景：主体是否都在 `kolors-course words` 里？是否不超过两个？地点和时间是否一致？场景是否重复？",
)
def check_storyboard_faults(answer: object, panels: Sequence[Mapping[str, Any]]) -> Right:
    """Whether `answer` says for each faulty panel, by its number, which of `FAULTS` it has.

    Raises:
        Mistake, Unanswered: it does not; the message names a panel and the likely reason.
    """
    if not isinstance(answer, Mapping):
        raise Mistake(
            f"The answer is {as_shown(answer)}, not a dictionary such as {{2: '{MANY}'}}.",
            f"答案是 {as_shown(answer)}，应为字典，例如 {{2: '{MANY}'}}。",
        )
    right = storyboard_faults(panels)
    for number, fault in answer.items():
        if fault not in FAULTS:
            listed = ", ".join(FAULTS)
            raise Mistake(
                f"{as_shown(fault)} is no fault of the list: {listed}.",
                f"{as_shown(fault)} 不在列表里：{listed}。",
            )
        if number not in right:
            raise Mistake(f"Panel {as_shown(number)} has no fault.", f"第 {as_shown(number)} 格没有问题。")
        if fault != right[number]:
            raise Mistake(
                f"Panel {number} has a fault, but not '{fault}'.", f"第 {number} 格有问题，但不是“{fault}”。"
            )
    if missing := [number for number in right if number not in answer]:
        raise Mistake(
            f"There {'is one more fault' if len(missing) == 1 else f'are {len(missing)} more faults'} to find.",
            f"还有 {len(missing)} 个问题没有找到。",
        )
    return Right(
        "A model that draws would have drawn all of them without a word; only pictures would have been wrong.",
        "画图的模型不会抱怨，照样会画出来，只是画错。",
    )


def share_attention(query: Tensor, key: Tensor, value: Tensor, weight: float) -> Tensor:
    """Attention of N pictures (N, rows, channels), in which each looks at the others' rows with `weight` as well."""
    count, rows, channels = key.shape
    scores = query @ key.flatten(0, 1).T / channels**0.5  # (N, rows, N · rows)
    own = torch.eye(count).repeat_interleave(rows, dim=1)[:, None]  # 1 where a row is the picture's own
    weights = own + (1 - own) * weight
    return (scores + weights.log()).softmax(-1) @ value.flatten(0, 1)


def _alone(query: Tensor, key: Tensor, value: Tensor, weight: float) -> Tensor:
    return (query @ key.transpose(1, 2) / key.shape[-1] ** 0.5).softmax(-1) @ value


def _with(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, root: float = 0.5) -> Tensor:
    scores = query @ key.flatten(0, 1).T / key.shape[-1] ** root
    return (scores + bias).softmax(-1) @ value.flatten(0, 1)


def _others(key: Tensor) -> Tensor:
    """(N, 1, N · rows): 1 where a row is another picture's."""
    return 1 - torch.eye(len(key)).repeat_interleave(key.shape[1], dim=1)[:, None]


@exercise(
    lambda: share_attention,
    "put the keys of all pictures behind one another, and add log(weight) to the scores of those that are not the "
    "picture's own.",
    "把所有图的 key 接在一起；凡不是自己那张图的行，分数加上 log(weight)。",
)
def check_shared_attention(shared: object) -> Right:
    """Whether `shared(query, key, value, weight)` is attention in which pictures look at one another.

    Raises:
        Mistake, Unanswered: it is not; the message names the likely reason.
    """
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 4, 2, generator=generator) for _ in range(3))
    cases = [(query, key, value, weight) for weight in (1.0, 0.5, 0.0)]
    slips = (
        Slip(
            _alone,
            "Every picture still looks at itself alone: flatten the keys and values of all into one row of rows.",
            "每张图仍然只看自己：把所有图的 key 和 value 拼成一长列。",
        ),
        Slip(
            lambda q, k, v, w: _with(q, k, v, torch.zeros(())),
            "The weight has no effect: others count as much as own rows, even at weight 0.",
            "权重没有起作用：即使权重为 0，别的图也和自己一样重要。",
        ),
        Slip(
            lambda q, k, v, w: _with(q, k, v, w * _others(k)),
            "The weight itself is added to the scores. exp(s + w) is no share; w·exp(s) = exp(s + log w).",
            "你把权重本身加到了分数上。应当是 w·exp(s) = exp(s + log w)。",
        ),
        Slip(
            lambda q, k, v, w: _weighted_after(q, k, v, w),
            "The weight comes after the softmax, so the shares of a row no longer sum to 1.",
            "权重乘在 softmax 之后，一行的份额之和就不再是 1。",
        ),
        Slip(
            lambda q, k, v, w: _with(q, k, v, (1 - (1 - w) * (1 - _others(k))).log()),
            "It is the own rows that get the weight; the others' should.",
            "加权加到了自己的行上；应当加在别人的行上。",
        ),
        Slip(
            lambda q, k, v, w: _with(q, k, v, (1 - _others(k) * (1 - w)).log(), root=0.0),
            "The scores are not divided by the root of the number of channels.",
            "分数没有除以通道数的平方根。",
        ),
    )
    compare(shared, share_attention, cases, slips)
    return Right(
        "At weight 0 pictures are strangers; at 1 they are one large picture.",
        "权重为 0，各画各的；权重为 1，就像是同一张大图。",
    )


def _weighted_after(query: Tensor, key: Tensor, value: Tensor, weight: float) -> Tensor:
    shares = (query @ key.flatten(0, 1).T / key.shape[-1] ** 0.5).softmax(-1)
    others = _others(key)
    return (shares * (1 - others + weight * others)) @ value.flatten(0, 1)


def reading_order(boxes: Sequence[PageBox]) -> list[int]:
    """In which order the panels of a page are read: row by row from the top, each row from the left.

    A panel belongs to the row in which it overlaps the first panel of that row by more than half of its height.
    """
    left_over = sorted(range(len(boxes)), key=lambda i: (boxes[i][1], boxes[i][0]))
    order: list[int] = []
    while left_over:
        first = boxes[left_over[0]]
        row = [i for i in left_over if _overlap(boxes[i], first) > 0.5]
        order += sorted(row, key=lambda i: boxes[i][0])
        left_over = [i for i in left_over if i not in row]
    return order


def _overlap(box: PageBox, first: PageBox) -> float:
    """How much of a box's height lies beside `first`, as a share."""
    shared = min(box[1] + box[3], first[1] + first[3]) - max(box[1], first[1])
    return max(0.0, shared) / box[3]


@exercise(
    lambda: reading_order,
    "find the panels that stand beside the topmost one, read them from left to right, and go on with the rest. A few "
    "pixels of difference in height do not make a new row.",
    "先找出与最上面那格并排的格子，从左到右读，再处理剩下的。高度差几个像素不算换行。",
)
def check_reading_order(order: object) -> Right:
    """Whether `order(boxes)` reads pages as `reading_order` does.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    grid = [(x, y, 90, 90) for y in (0, 100) for x in (0, 100, 200, 300)]
    shuffled = [grid[i] for i in (5, 0, 7, 2, 4, 1, 6, 3)]
    ragged = [(100, 0, 90, 90), (0, 6, 90, 90), (200, 3, 90, 90), (0, 110, 140, 90), (150, 104, 140, 90)]
    wide = [(0, 220, 290, 90), (150, 110, 140, 90), (0, 0, 290, 100), (0, 110, 140, 90)]
    for name, page in (("a grid of 2 x 4", shuffled), ("ragged rows", ragged), ("wide panels", wide)):
        answer, right = called(order, (list(page),), reading_order), reading_order(page)
        if not isinstance(answer, Sequence) or isinstance(answer, str):
            raise Mistake(
                f"The answer is {as_shown(answer)}, not a list of panel numbers.",
                f"答案是 {as_shown(answer)}，应该是格子编号的列表。",
            )
        if list(answer) != right:
            raise Mistake(*_order_mistake(name, page, list(answer), right))
    return Right(
        "A page is read as a text is: a line from left to right, then the next. That is why a tall panel beside a "
        "stack of two confuses, and why the gap between rows should not be smaller than that between columns.",
        "读页面和读文字一样：一行从左到右，再读下一行。所以高格旁边叠两格会让人读错；行距也不应小于列距。",
    )


def _order_mistake(name: str, page: Sequence[PageBox], answer: list, right: list[int]) -> tuple[str, str]:
    if sorted(answer, key=str) != sorted(right, key=str):
        return (
            f"{name}: {_listed(answer)} does not name every panel once, from 0 to {len(page) - 1}.",
            f"{name}：{_listed(answer)} 没有把 0 到 {len(page) - 1} 的每一格各列一次。",
        )
    if answer == sorted(right, key=lambda i: (page[i][0], page[i][1])):
        return (
            f"{name}: that goes down each column first, as old Chinese books do; this page runs in rows.",
            f"{name}：这是先读完一列（古书的读法）；这一页是按行读的。",
        )
    if answer == sorted(right, key=lambda i: (page[i][1], page[i][0])):
        return (
            f"{name}: sorted by the exact top. Panels of one row differ by a few pixels; it is a row all the same.",
            f"{name}：你按精确的上边缘排序。同一行的格子会差几个像素，但仍是同一行。",
        )
    if answer == list(range(len(page))):
        return (
            f"{name}: that is the order in which the boxes were given, not where they stand.",
            f"{name}：这是给出的顺序，而不是它们在页面上的位置。",
        )
    return (
        f"{name}: read as {_listed(answer)}; a reader goes {_listed(right)}.",
        f"{name}：你读成 {_listed(answer)}；读者会按 {_listed(right)} 读。",
    )


def _listed(numbers: Sequence) -> str:
    return ", ".join(map(str, numbers))
