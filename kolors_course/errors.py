"""The one exception that means "your input, not our code", and how its messages show values."""

import reprlib

MAX_SHOWN = 80  # characters of a value in a message


class CourseError(Exception):
    """A mistake the user can mend.

    The message is one line: what is wrong, where (file, line or key) and how to mend it. The command
    line prints it without a traceback and exits with status 2.
    """


def brief(value: object) -> str:
    """`repr` of a value that somebody else wrote, cut to what a line of an error message can hold."""
    short = reprlib.Repr()  # it never builds the whole text first
    short.maxstring = short.maxother = short.maxlong = MAX_SHOWN
    text = short.repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
