"""Exercises of notebook 12: values without names, what runs again, and mending a workflow."""

from collections.abc import Collection, Mapping
from typing import Any

from kolors_course.comfyui.graph import ApiGraph
from kolors_course.comfyui.order import downstream
from kolors_course.comfyui.schema import NodeSchema
from kolors_course.comfyui.validate import find_problems, title_of
from kolors_course.exercises.feedback import Mistake, Right

# The row of values in the camp's KolorsSampler, and what they are.
CAMP_VALUES = (1024, 1024, 0, "fixed", 25, 5, "EulerDiscreteScheduler", 1)
CAMP_NAMES = {"steps": 25, "cfg": 5, "scheduler": "EulerDiscreteScheduler", "denoise_strength": 1}


def check_widget_values(answer: Mapping[str, Any]) -> Right:
    """Whether `answer` names the values of CAMP_VALUES that come after the seed.

    Raises:
        Mistake: it does not; the message names the likely reason.
    """
    missing = [name for name in CAMP_NAMES if name not in answer]
    if missing:
        raise Mistake(f"There is no {missing[0]} in your answer.", f"答案里没有 {missing[0]}。")
    if answer["steps"] == "fixed":
        raise Mistake(
            '"fixed" is no number of steps: the page puts a field of its own right after every seed, which says '
            "what happens to the seed after a run. The server never sees it.",
            "“fixed”不是步数：页面会在每个种子后面加一个自己的控件，表示运行之后种子怎么变。服务器看不到它。",
        )
    for name, right in CAMP_NAMES.items():
        if answer[name] != right:
            raise Mistake(
                f"{name} is {answer[name]!r} in your answer; count the values from the left once more.",
                f"你的 {name} 是 {answer[name]!r}；请从左边重新数一遍。",
            )
    return Right(
        "A row without names: who adds a widget in the middle breaks every saved workflow.",
        "一排没有名字的值：谁在中间加一个控件，谁就弄坏所有保存过的工作流。",
    )


def check_rerun(answer: Collection[str], api: ApiGraph, changed: str) -> Right:
    """Whether `answer` holds the ids of the nodes that run again when an input of node `changed` changes.

    Raises:
        Mistake: it does not; the first node that is wrong is named.
    """
    right, given = downstream(api, changed), {str(key) for key in answer}
    for key in api:
        name = f"{key} ({title_of(api[key])})"
        if key in right - given:
            reason = "its own input changed" if key == changed else "something it takes is made anew"
            reason_zh = "它自己的输入变了" if key == changed else "它用到的东西是重新生成的"
            raise Mistake(
                f"Node {name} runs again as well: {reason}.", f"节点 {name} 也会重新运行：{reason_zh}。"
            )
        if key in given - right:
            raise Mistake(
                f"Node {name} does not: nothing that it takes has changed, so its result is remembered.",
                f"节点 {name} 不会重新运行：它用到的东西都没变，结果已经缓存。",
            )
    if given - right:
        raise Mistake(
            f"There is no node {sorted(given - right)[0]}.", f"没有节点 {sorted(given - right)[0]}。"
        )
    return Right(
        f"{len(right)} of {len(api)} nodes run again; the model is neither loaded nor the prompt read anew.",
        f"{len(api)} 个节点里有 {len(right)} 个重新运行；模型不用重新加载，提示词不用重新编码。",
    )


def check_mended(api: ApiGraph, schemas: Mapping[str, NodeSchema]) -> Right:
    """Whether a server with these node types would run the workflow.

    Raises:
        Mistake: it would not; the first problem is named.
    """
    problems = find_problems(api, dict(schemas))
    if problems:
        left = len(problems)
        raise Mistake(
            f"{left} to go, the first is: {problems[0]}.",
            f"还剩 {left} 处，第一处（错误信息是英文，和命令行里一样）：{problems[0]}。",
        )
    return Right("The server would run it.", "服务器会运行它。")
