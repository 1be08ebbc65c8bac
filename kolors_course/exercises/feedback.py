"""What an exercise says: praise that explains, or the likely mistake; in English and Chinese."""

import os


def fast() -> bool:
    """True where the notebooks are only tested ($KOLORS_COURSE_FAST is set): fewer steps, the same code."""
    return os.environ.get("KOLORS_COURSE_FAST", "") not in ("", "0")


class Remark(str):
    """What a check says of an answer. A notebook shows it without quotes."""

    def __repr__(self) -> str:
        return str(self)


class Right(Remark):
    """The verdict on a right answer, and what it means."""

    def __new__(cls, english: str, chinese: str) -> "Right":
        return super().__new__(cls, f"Right. {english}\n对了。{chinese}")


class Mistake(Exception):
    """What is wrong with an answer, and where to look. `kolors_course.exercises.check` makes a verdict of it."""

    def __init__(self, english: str, chinese: str):
        super().__init__(f"Not yet. {english}\n还不对。{chinese}")


class Unanswered(Exception):
    """The answer is still the `...` that the notebook ships with."""
