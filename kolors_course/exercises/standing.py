"""Where a learner stands in the course: as lines, as a map in a notebook, and as a text to share (打卡)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any

from kolors_course.errors import CourseError
from kolors_course.exercises.course import LESSONS, Lesson, exercise_title, find_lesson
from kolors_course.exercises.progress import Passed, read_passed

DONE, OPEN = "●", "○"
GREEN, GREY, SHADE = "#3b8f3e", "#8a8f98", "rgba(59, 143, 62, 0.14)"  # legible on white and on black
TILES = {True: "🟩", False: "⬜"}  # of the text to share: messengers keep no colours


@dataclass(frozen=True)
class Standing:
    """What has been passed of the course."""

    passed: Passed
    lessons: tuple[Lesson, ...] = LESSONS

    def done(self, lesson: Lesson) -> int:
        """How many exercises of a lesson have been passed."""
        return sum(check in self.passed for check in lesson.exercises)

    def marks(self, lesson: Lesson) -> str:
        """The exercises of a lesson, a sign for each."""
        return "".join(DONE if check in self.passed else OPEN for check in lesson.exercises)

    @property
    def count(self) -> int:
        """How many exercises have been passed; only those that the course has count."""
        return sum(map(self.done, self.lessons))

    @property
    def total(self) -> int:
        return sum(len(lesson.exercises) for lesson in self.lessons)

    @property
    def days(self) -> tuple[date, ...]:
        """The days on which exercises were passed for the first time, in order."""
        checks = {check for lesson in self.lessons for check in lesson.exercises}
        return tuple(sorted({day for check, day in self.passed.items() if check in checks}))

    def summary(self) -> str:
        return f"{self.count} of {self.total} exercises passed · {self.total} 道练习，做对 {self.count} 道"

    def lines(self, here: Lesson | None = None) -> Iterator[str]:
        """The map: a line for each lesson, its marks, its title and what is still to do; then the sum."""
        widest = max(len(lesson.exercises) for lesson in self.lessons)
        for lesson in self.lessons:
            left = ", ".join(exercise_title(check) for check in lesson.exercises if check not in self.passed)
            to_do = f"  (to do: {left})" if left else ""
            pointer = "→" if lesson is here else " "
            yield f"{pointer} {lesson.number}  {self.marks(lesson):{widest}}  {lesson.title}{to_do}"
        yield f"  {self.summary()}"

    def share_text(self) -> str:
        """A text for friends, in both languages. A tile is an exercise."""
        rows = (
            f"{lesson.number} {''.join(TILES[check in self.passed] for check in lesson.exercises)}"
            for lesson in self.lessons
        )
        return "\n".join(
            (
                f"打卡 kolors_course 可图 LoRA 课：{self.total} 道自测练习，做对了 {self.count} 道。",
                f"kolors_course, learning to train Kolors LoRAs: {self.count} of {self.total} self-checked "
                "exercises passed.",
                *rows,
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """The map for other programs: of each exercise the day on which it was passed, or None."""
        return {
            "passed": self.count,
            "exercises": self.total,
            "lessons": [
                {
                    "notebook": lesson.notebook,
                    "english": lesson.english,
                    "chinese": lesson.chinese,
                    "exercises": {
                        check: self.passed[check].isoformat() if check in self.passed else None
                        for check in lesson.exercises
                    },
                }
                for lesson in self.lessons
            ],
        }


@dataclass(frozen=True)
class ProgressMap:
    """The map as the last cell of a lesson shows it: plain HTML, which GitHub and saved notebooks show as well."""

    standing: Standing
    here: Lesson
    trouble: str = ""  # why what has been passed is not known

    def __repr__(self) -> str:
        return "\n".join((*self.standing.lines(self.here), *filter(None, [self.trouble])))

    def _repr_html_(self) -> str:
        rows = "".join(map(self._row, self.standing.lessons))
        trouble = f'<p style="color: #c62828">{escape(self.trouble)}</p>' if self.trouble else ""
        return (
            f'<table style="border-collapse: collapse">{rows}</table>'
            f"<p><b>{self.standing.summary()}</b></p>{trouble}"
        )

    def _row(self, lesson: Lesson) -> str:
        title, shade = escape(lesson.title), ""
        if lesson is self.here:
            title, shade = f"<b>{title}</b> ← this lesson · 本课", f' style="background: {SHADE}"'
        marks = " &nbsp; ".join(map(self._mark, lesson.exercises))
        texts = (lesson.number, title, marks, f"{self.standing.done(lesson)} / {len(lesson.exercises)}")
        # GitHub drops the style, JupyterLab overrules the attribute.
        cells = (
            f'<td align="left" style="text-align: left; white-space: normal">{text}</td>' for text in texts
        )
        return f"<tr{shade}>{''.join(cells)}</tr>"

    def _mark(self, check: str) -> str:
        mark, colour = (DONE, GREEN) if check in self.standing.passed else (OPEN, GREY)
        return (
            '<span style="white-space: nowrap">'
            f'<span style="color: {colour}">{mark}</span> {escape(exercise_title(check))}</span>'
        )


def progress_map(number: str) -> ProgressMap:
    """The map of the course with the lesson `number` marked; a damaged file is told below an empty map.

    Raises:
        CourseError: there is no such lesson.
    """
    here = find_lesson(number)
    try:
        return ProgressMap(Standing(read_passed()), here)
    except CourseError as error:
        return ProgressMap(Standing({}), here, str(error))
