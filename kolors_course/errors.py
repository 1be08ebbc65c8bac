"""The one exception that means "your input, not our code", how its messages show values, and memory that ran out."""

import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager

LESS = "lower the size or the number of pictures at a time"
MAX_SHOWN = 80  # characters of a value in a message
# What torch says on CPUs, CUDA and MPS, and of shapes whose bytes no number counts.
_NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory|_ALLOC_FAILED"
    r"|Storage size calculation overflowed|numel: integer multiplication overflow|Invalid buffer size",
    re.IGNORECASE,
)
_ASKED = re.compile(r"(?:tried|trying) to allocate ([\d.]+ ?\w*)", re.IGNORECASE)


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, numpy or torch means that memory ran out, on the CPU or a GPU."""
    # torch's own types are told by their name: this module is imported where torch is not.
    by_type = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return by_type or (isinstance(error, (RuntimeError, OSError)) and bool(_NO_MEMORY.search(str(error))))


@contextmanager
def enough_memory(advice: str = LESS) -> Iterator[None]:
    """Within this context memory that runs out is told in one line.

    Args:
        advice: what to lower.

    Raises:
        CourseError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        asked = _ASKED.search(str(error))
        wanted = f" (it wanted {asked[1]} more)" if asked else ""
        where = "the GPU's memory" if re.search("CUDA|HIP", str(error)) else "the memory"
        raise CourseError(
            f"{where} is not enough{wanted}: {advice}, or end other programs that use it"
        ) from error
