"""Numbers on the command line: out of range, they are refused before any work, with the flag and the range."""

import argparse
from collections.abc import Callable

from kolors_course.ranges import Range, shortened


def number(limits: Range) -> Callable[[str], float]:
    """A `type` for argparse: a number within `limits`."""

    def parse(text: str) -> float:
        try:
            value = int(text) if limits.whole else float(text)
        except ValueError:
            value = None
        if value not in limits:
            raise argparse.ArgumentTypeError(f"must be {limits}, not {shortened(text)}")
        return value

    return parse
