"""A certificate page: one HTML file that needs nothing else, in both languages, and says what it attests."""

from datetime import date
from html import escape
from pathlib import Path
from string import Template

from kolors_course import __version__
from kolors_course.errors import CourseError
from kolors_course.exercises.course import Lesson
from kolors_course.exercises.standing import Standing

LONGEST_NAME = 80  # characters


def certificate_page(standing: Standing, name: str, written: date) -> str:
    """The page for a learner of this name.

    Args:
        written: the day that the page bears.

    Raises:
        CourseError: no exercise has been passed yet, or the name is empty or too long.
    """
    name = " ".join(name.split())
    if not name:
        raise CourseError("the name on the certificate is empty; give yours, as --certificate 'Ada Lovelace'")
    if len(name) > LONGEST_NAME:
        raise CourseError(f"the name has {len(name)} characters, and a certificate holds {LONGEST_NAME}")
    if not standing.count:
        raise CourseError("no exercise has been passed yet: answer one in a notebook, then ask again")
    page = Template(Path(__file__).with_name("certificate.html").read_text(encoding="utf-8"))
    return page.substitute(
        name=escape(name),
        count=standing.count,
        total=standing.total,
        days=_span(standing.days),
        rows="\n".join(_row(standing, lesson) for lesson in standing.lessons),
        written=written.isoformat(),
        version=escape(__version__),
    )


def _row(standing: Standing, lesson: Lesson) -> str:
    return (
        f"<tr><td>{lesson.number}</td><td>{escape(lesson.title)}</td>"
        f'<td class="marks">{standing.marks(lesson)}</td>'
        f"<td>{standing.done(lesson)} / {len(lesson.exercises)}</td></tr>"
    )


def _span(days: tuple[date, ...]) -> str:
    """The first and the last of some days; one day is said once."""
    return " – ".join(day.isoformat() for day in dict.fromkeys((days[0], days[-1])))
