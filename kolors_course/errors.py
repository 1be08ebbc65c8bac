"""The one exception that means "your input, not our code", and memory that ran out told as one."""

from collections.abc import Iterator
from contextlib import contextmanager

# How torch's devices and libraries say in a RuntimeError that there is no memory left.
_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "_ALLOC_FAILED",
    "Cannot allocate memory",
)
LESS = "lower the size or the number of pictures at a time"


class CourseError(Exception):
    """A mistake the user can mend.

    The message is one line: what is wrong, where (file, line or key) and how to mend it. The command
    line prints it without a traceback and exits with status 2.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, torch or a GPU's library says that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(sign in str(error) for sign in _OUT_OF_MEMORY)


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
        on_gpu = any(name in str(error) for name in ("CUDA", "HIP", "CUBLAS", "CUDNN"))
        where = "the GPU's memory" if on_gpu else "the memory"
        raise CourseError(f"{where} is not enough: {advice}, or end other programs that use it") from error
