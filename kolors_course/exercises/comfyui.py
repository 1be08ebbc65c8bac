"""Exercises of notebook 12: values without names, what runs again, and mending a workflow."""

import json
from collections.abc import Mapping
from copy import deepcopy

from kolors_course.comfyui.graph import ApiGraph, read_api
from kolors_course.comfyui.order import downstream
from kolors_course.comfyui.schema import NodeSchema
from kolors_course.comfyui.validate import find_problems, title_of
from kolors_course.errors import CourseError
from kolors_course.exercises.answers import as_shown, called
from kolors_course.exercises.check import exercise
from kolors_course.exercises.feedback import Mistake, Right, Unanswered

# The row of values in the camp's KolorsSampler, and what they are.
CAMP_VALUES = (1024, 1024, 0, "fixed", 25, 5, "EulerDiscreteScheduler", 1)
CAMP_NAMES = {"steps": 25, "cfg": 5, "scheduler": "EulerDiscreteScheduler", "denoise_strength": 1}


@exercise(
    lambda: dict(CAMP_NAMES),
    "the seed is the third value. Does every value after it have a name among the four?",
    "种子是第三个值。它后面的每个值都属于这四个名字吗？",
)
def check_widget_values(answer: object) -> Right:
    """Whether `answer` names the values of CAMP_VALUES that come after the seed.

    Raises:
        Mistake, Unanswered: it does not; the message names the likely reason.
    """
    if not isinstance(answer, Mapping):
        raise Mistake(
            f"The answer is {as_shown(answer)}; wanted is a value for each name: {{'steps': …, 'cfg': …}}.",
            f"答案是 {as_shown(answer)}；需要给每个名字一个值：{{'steps': …, 'cfg': …}}。",
        )
    missing = [name for name in CAMP_NAMES if name not in answer]
    if missing:
        raise Mistake(f"There is no {missing[0]} in your answer.", f"答案里没有 {missing[0]}。")
    values = {
        name: answer[name] if isinstance(answer[name], (str, int, float)) else None for name in CAMP_NAMES
    }
    wrong = [name for name, right in CAMP_NAMES.items() if values[name] != right]
    if values["steps"] == "fixed":
        raise Mistake(
            '"fixed" is no number of steps: the page puts a field of its own right after every seed, which says '
            "what happens to the seed after a run. The server never sees it.",
            "“fixed”不是步数：页面会在每个种子后面加一个自己的控件，表示运行之后种子怎么变。服务器看不到它。",
        )
    if wrong:
        value = as_shown(answer[wrong[0]])
        raise Mistake(
            f"{wrong[0]} is {value} in your answer; count the values from the left once more.",
            f"你的 {wrong[0]} 是 {value}；请从左边重新数一遍。",
        )
    return Right(
        "A row without names: who adds a widget in the middle breaks every saved workflow.",
        "一排没有名字的值：谁在中间加一个控件，谁就弄坏所有保存过的工作流。",
    )


@exercise(
    downstream,
    "follow the links from node 4 to the right, in the figure of section 1.",
    "在第 1 节的图里，从节点 4 顺着连线向右走。",
)
def check_rerun(answer: object, api: ApiGraph, changed: str) -> Right:
    """Whether `answer` holds the ids of the nodes that run again when an input of node `changed` changes.

    Raises:
        Mistake: it does not; the first node that is wrong is named.
    """
    right, given = downstream(api, changed), _ids(answer)
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


def _ids(answer: object) -> set[str]:
    """The ids of nodes that a learner lists; numbers are as good as texts."""
    if isinstance(answer, (set, frozenset, list, tuple)) and all(
        isinstance(key, (str, int)) for key in answer
    ):
        return {str(key) for key in answer}
    raise Mistake(
        f'The answer is {as_shown(answer)}; wanted is a set of node ids, like {{"1", "2"}}.',
        f'答案是 {as_shown(answer)}；需要一个节点编号的集合，例如 {{"1", "2"}}。',
    )


def mend(graph: ApiGraph) -> ApiGraph:
    """The repairs that the broken workflow of the notebook needs."""
    graph["3"]["inputs"]["model"] = ["1", 0]
    graph["4"]["inputs"] |= {"sampler": "euler", "prompt": ["3", 0]}
    return graph


@exercise(
    lambda broken, schemas: mend,
    'each line above names a node and an input; graph["4"]["inputs"]["steps"] = 20 would set one.',
    '上面每一行指出一个节点和一个输入；像 graph["4"]["inputs"]["steps"] = 20 这样修改。',
)
def check_mended(repair: object, broken: ApiGraph, schemas: Mapping[str, NodeSchema]) -> Right:
    """Whether a server with these node types would run the graph that `repair(graph)` gives back, or has changed.

    Raises:
        Mistake: it would not; the first problem is named.
        Unanswered: nothing has been changed.
    """
    graph = deepcopy(broken)
    mended = called(repair, (graph,), mend)
    mended = graph if mended is None else mended
    try:
        text = json.dumps(mended)  # what the server would be sent
        if text == json.dumps(broken):
            raise Unanswered
        problems = find_problems(read_api(json.loads(text)), dict(schemas))
    except (CourseError, TypeError, ValueError, RecursionError) as error:
        raise Mistake(f"It is no workflow any more: {error}.", f"它已经不是工作流了：{error}。") from error
    if problems:
        left = len(problems)
        raise Mistake(
            f"{left} to go, the first is: {problems[0]}.",
            f"还剩 {left} 处，第一处（错误信息是英文，和命令行里一样）：{problems[0]}。",
        )
    return Right("The server would run it.", "服务器会运行它。")
