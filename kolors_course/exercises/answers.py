"""Reading what a learner wrote: whatever it is, it is a value of the kind wanted or one sentence about it."""

import inspect
import linecache
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from types import FunctionType, TracebackType

from torch import Tensor

from kolors_course.errors import brief, on_one_line
from kolors_course.exercises.feedback import Mistake, Unanswered

LARGEST = 2**60
LONGEST = 160  # characters that are shown of a line of code, or of what Python says


def is_open(answer: object) -> bool:
    """Whether an answer is `...`, or has it where something is to be filled in."""
    if isinstance(answer, Mapping):
        return any(map(is_open, answer.values()))
    if isinstance(answer, (list, tuple, set, frozenset)):
        return any(map(is_open, answer))
    return answer is ...


def as_shown(answer: object) -> str:
    """An answer as a message shows it: short, on one line, texts in quotes."""
    if isinstance(answer, str):
        return brief(repr(answer))
    if (shape := getattr(answer, "shape", None)) is not None and not isinstance(answer, type):
        return f"{type(answer).__name__}{tuple(shape)}"
    return "…()" if isinstance(answer, FunctionType) else brief(answer)


def number_of(answer: object) -> float:
    """`answer` as a plain number.

    Raises:
        Mistake: it is none, which most often means that a function has no return.
    """
    if isinstance(answer, Tensor) and answer.numel() == 1:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, Real):
        raise Mistake(
            f"The answer is {as_shown(answer)}, not a number.{_no_return(answer)}",
            f"答案是 {as_shown(answer)}，不是数字。{_no_return_zh(answer)}",
        )
    if isinstance(answer, int) and abs(answer) > LARGEST:
        raise Mistake(f"{as_shown(answer)} is far too large.", f"{as_shown(answer)} 太大了。")
    return answer if isinstance(answer, int) else float(answer)


def text_of(answer: object) -> str:
    """`answer` itself, if it is a text.

    Raises:
        Mistake: it is none.
    """
    if not isinstance(answer, str):
        raise Mistake(
            f"The answer is {as_shown(answer)}, not a text: write it between quotes, 'like this'.",
            f"答案是 {as_shown(answer)}，不是文字：请写在引号里，“'像这样'”。",
        )
    return answer


def called(function: object, case: Sequence[object], like: Callable) -> object:
    """What a learner's function gives back for a case.

    Args:
        like: takes what the learner's function has to take; its parameters have the names to show.

    Raises:
        Mistake: it is no function, cannot be called so, or stops; the learner's own line is shown.
        Unanswered: what it returns is still `...`.
    """
    name = getattr(function, "__name__", "the function")
    call = f"{name}({', '.join(inspect.signature(like).parameters)})"
    if not callable(function):
        raise Mistake(
            f"The answer is {as_shown(function)}, not a function: it has to begin with def.",
            f"答案是 {as_shown(function)}，不是函数：应当以 def 开头。",
        )
    try:
        inspect.signature(function).bind(*case)
    except ValueError:  # some of those written in C do not tell
        pass
    except TypeError as error:
        line, line_zh = _own_line(function, None)
        raise Mistake(
            f"{line}It is called as {call}, with {len(case)} arguments: {error}.",
            f"{line_zh}调用方式是 {call}，共 {len(case)} 个参数：{error}。",
        ) from error
    try:
        answer = function(*case)
    except Exception as error:
        line, line_zh = _own_line(function, error.__traceback__)
        raise Mistake(f"{line}{_reason(error)}.", f"{line_zh}{_reason(error)}。") from error
    if is_open(answer):
        raise Unanswered
    return answer


def _no_return(answer: object) -> str:
    return " If it comes from a function: does every path return one?" if answer is None else ""


def _no_return_zh(answer: object) -> str:
    return "如果它来自一个函数：每条路径都 return 了吗？" if answer is None else ""


def _own_line(function: Callable, traceback: TracebackType | None) -> tuple[str, str]:
    """The line of the learner's code in which an error arose, or the first of the function; "" if there is none."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return "", ""
    number = code.co_firstlineno
    while traceback:
        if traceback.tb_frame.f_code.co_filename == code.co_filename:
            number = traceback.tb_lineno
        traceback = traceback.tb_next
    text = brief(linecache.getline(code.co_filename, number).strip(), LONGEST)
    return f"Line {number} of your cell, `{text}`: ", f"你的单元格第 {number} 行 `{text}`："


def _reason(error: Exception) -> str:
    """What Python says, without where the checks define what they hand over."""
    said = re.sub(r"\S*<locals>\.", "", on_one_line(str(error)))
    return brief(f"{type(error).__name__}: {said}".rstrip(": ."), LONGEST)
