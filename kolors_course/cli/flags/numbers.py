"""Numbers on the command line: out of range, they are refused before any work, with the flag and the range."""

import argparse
import math
from collections.abc import Callable

from kolors_course.errors import brief
from kolors_course.ranges import Range, whole

COUNT = whole(1, 1_000_000)  # of what nobody wants more of
SIDE = whole(1, 2**16)


def number(limits: Range) -> Callable[[str], float]:
    """A `type` for argparse: a number within `limits`."""

    def parse(text: str) -> float:
        try:
            value = int(text) if limits.whole else float(text)
        except ValueError:  # also for thousands of digits
            value = math.nan  # which is in no range
        if value not in limits:
            raise argparse.ArgumentTypeError(f"must be {limits}, not {brief(text, 24)}")
        return value

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
