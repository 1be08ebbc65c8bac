"""Numbers on the command line: out of range, they are refused before any work, with the flag and the range."""

import argparse
from collections.abc import Callable

from kolors_course.errors import CourseError, brief
from kolors_course.ranges import Range, whole

COUNT = whole(1, 1_000_000)  # of what nobody wants more of
SIDE = whole(1, 2**16)


def number(limits: Range) -> Callable[[str], float]:
    """A `type` for argparse: a number within `limits`."""

    def parse(text: str) -> float:
        try:
            return limits.read(text)
        except CourseError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def size(text: str) -> tuple[int, int]:
    """ "64x48" -> (64, 48), width first.

    Raises:
        argparse.ArgumentTypeError: not two whole numbers from 1 to 65536.
    """
    try:
        width, height = (int(number(SIDE)(side)) for side in text.lower().replace("×", "x").split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"must be width x height in pixels, each {SIDE}, such as 64x64, not {brief(text, 24)}"
        ) from None
    return width, height
