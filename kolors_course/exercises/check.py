"""The one way in which exercises answer: `answer = check(answer, ...)` says how good it is and stops no notebook."""

import functools
from collections.abc import Callable
from typing import Any

from kolors_course.errors import CourseError
from kolors_course.exercises.answers import is_open
from kolors_course.exercises.feedback import Mistake, Remark, Right, Unanswered
from kolors_course.exercises.progress import note_passed

Judge = Callable[..., Right]
GOES_ON = "(Until then the cells below take the library's answer. 在此之前，下面的单元格用课程库的答案。)"


class Exercise:
    """An exercise, called as `answer = check(answer, *facts)`.

    It gives back the answer if that is right and the library's own if not, so that the cells below can go on. That a
    learner's answer was right is noted (`exercises/progress.py`); the library's own, given back to it, is nobody's.
    """

    def __init__(self, judge: Judge, instead: Callable[..., Any], hint: tuple[str, str]):
        """See `exercise`."""
        functools.update_wrapper(self, judge)
        self._judge, self._instead, self._hint = judge, instead, hint
        self._lent: Any = None  # the library's answer that a learner was given

    def reply(self, answer: object, *facts: Any, **named_facts: Any) -> Remark:
        """What there is to say about an answer; a `Right` if it is right."""
        try:
            if is_open(answer):
                raise Unanswered
            return self._judge(answer, *facts, **named_facts)
        except Mistake as mistake:
            return Remark(mistake)
        except Unanswered:
            english, chinese = self._hint
            return Remark(f"Yours to write. Hint: {english}\n由你来写。提示：{chinese}")

    def __call__(self, answer: object, *facts: Any, **named_facts: Any) -> Any:
        """Show what there is to say; return the answer if it is right, the library's if not."""
        # Numbers are the same object whoever says them; a function is not.
        lent = callable(answer) and answer is self._lent
        reply = self.reply(... if lent else answer, *facts, **named_facts)
        if isinstance(reply, Right):
            _show(reply)
            _note(self._judge.__name__)
            return answer
        _show(Remark(f"{reply}\n{GOES_ON}"))
        self._lent = self._instead(*facts, **named_facts)
        return self._lent


def exercise(instead: Callable[..., Any], english: str, chinese: str) -> Callable[[Judge], Exercise]:
    """Make a check of a function that judges: it returns a `Right`, or raises a `Mistake` or `Unanswered`.

    Args:
        instead: called with what the check is given besides the answer, returns the library's answer.
        english, chinese: a hint for who has not answered yet.
    """
    return lambda judge: Exercise(judge, instead, (english, chinese))


def _note(name: str) -> None:
    """Note that an exercise was passed; what keeps it from being noted is told and stops no lesson."""
    try:
        note_passed(name)
    except CourseError as error:
        _show(Remark(f"(Right, but not noted. 答对了，但没有记下来。 {error})"))


def _show(remark: Remark) -> None:
    from IPython.display import display  # notebooks have it; who only imports the checks need not

    display(remark)
