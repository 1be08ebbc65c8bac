"""Types of numeric flags: the range is part of the flag, so a number outside it is told before any work."""

import argparse
import math
from collections.abc import Callable

from kolors_course.errors import brief

COUNT_LIMIT = 1_000_000  # of what nobody wants more of: steps, pictures, tokens
SEED_LIMIT = 2**32 - 1  # torch's CPU generator reads no more bits


def whole(low: int, high: int = COUNT_LIMIT) -> Callable[[str], int]:
    """A type for whole numbers from `low` to `high`.

    Raises (the function it gives):
        argparse.ArgumentTypeError: not such a number.
    """

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:  # also for thousands of digits
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"give a whole number from {low} to {high}, not {brief(text)}")
        return value

    return parse


def number(
    low: float | None = None, high: float | None = None, *, above: float | None = None
) -> Callable[[str], float]:
    """A type for finite numbers from `low`, or greater than `above`, up to `high`; None is no bound.

    Raises (the function it gives):
        argparse.ArgumentTypeError: not such a number; NaN and infinity never are.
    """
    bounds = [("from", low), ("above", above), ("up to", high)]
    wanted = " ".join(
        ["a finite number", *(f"{word} {bound:g}" for word, bound in bounds if bound is not None)]
    )

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        inside = (low is None or value >= low) and (high is None or value <= high)
        if not (math.isfinite(value) and inside and (above is None or value > above)):
            raise argparse.ArgumentTypeError(f"give {wanted}, not {brief(text)}")
        return value

    return parse


positive_whole = whole(1)
seed = whole(0, SEED_LIMIT)
fraction = number(0, 1)


def size(text: str) -> tuple[int, int]:
    """ "64x48" -> (64, 48), width first.

    Raises:
        argparse.ArgumentTypeError: not two whole numbers from 1 to 65536.
    """
    try:
        width, height = (whole(1, 65536)(part) for part in text.lower().replace("×", "x").split("x"))
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"write width x height in pixels, such as 64x64, not {brief(text)}"
        ) from None
    return width, height
