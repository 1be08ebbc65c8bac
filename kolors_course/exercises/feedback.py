"""How an exercise answers: praise that explains, or the likely mistake; in English and Chinese."""

import os


def fast() -> bool:
    """True where the notebooks are only tested ($KOLORS_COURSE_FAST is set): fewer steps, the same code."""
    return os.environ.get("KOLORS_COURSE_FAST", "") not in ("", "0")


class Right(str):
    """What a check returns for a right answer. A notebook shows it without quotes."""

    def __new__(cls, english: str, chinese: str) -> "Right":
        return super().__new__(cls, f"Right. {english}\n对了。{chinese}")

    def __repr__(self) -> str:
        return str(self)


class Mistake(Exception):
    """What a check raises for a wrong answer: what is wrong with it and where to look.

    Raised, so that "Run All" stops here and nothing builds on a wrong answer.
    """

    def __init__(self, english: str, chinese: str):
        super().__init__(f"Not yet. {english}\n还不对。{chinese}")

    def _render_traceback_(self) -> list[str]:
        # IPython shows this in place of a traceback, in which a learner has nothing to find.
        return str(self).splitlines()


def checked_number(answer: object) -> float:
    """`answer` itself, if it is a number.

    Raises:
        Mistake: it is not, which most often means that a function has no return.
    """
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        raise Mistake(
            f"The answer is {answer!r}, not a number. If it comes from a function: does every path return one?",
            f"答案是 {answer!r}，不是数字。如果它来自一个函数：每条路径都 return 了吗？",
        )
    return answer
