"""The one exception that means "your input, not our code", what its messages show, and memory that ran out."""

import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager

LESS = "lower the size or the number of pictures at a time"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f]")
_LONG_WORD = re.compile(r"\S{301,}")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r"} | dict.fromkeys("\t\v\f\x1c\x1d\x1e\x1f\u2028\u2029", " "))
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

    def __init__(self, message: str):
        super().__init__(for_terminal(message))


def printable(text: str, backslash: str = "\\") -> str:
    r"""`text` in characters that can be written as UTF-8, such as the name of a file that is not UTF-8.

    Python puts each such byte into half a character; here it is shown as \xb9 again. Inside JSON a backslash is two.
    """
    return _HALF_CHARACTER.sub(lambda half: backslash + _code(half[0]), text)


def for_terminal(message: str) -> str:
    """A message as any terminal can show it: no control signs, and no word, such as a path, that fills the screen."""
    escaped = _CONTROL.sub(lambda sign: f"\\x{ord(sign[0]):02x}", printable(message))
    return _LONG_WORD.sub(lambda word: f"{word[0][:100]}…{word[0][-100:]}", escaped)


def on_one_line(text: str) -> str:
    r"""`text` as `for_terminal`, on one line: names of files may hold \n."""
    return for_terminal(text.translate(_BREAKS))


def is_whole(text: str) -> bool:
    """Whether every character of `text` is whole; bytes of another encoding, as from a shell, leave halves."""
    return not _HALF_CHARACTER.search(text)


def _code(half: str) -> str:
    number = ord(half)
    return f"x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"u{number:04x}"


def brief(value: object, width: int = 60) -> str:
    """A value from elsewhere as a message can show it: one line of at most `width` signs, control signs escaped.

    However large the value is, its whole text is never built.
    """
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = shortener.maxlong = width
    text = value if isinstance(value, str) else shortener.repr(value)
    text = printable(text[: 2 * width])
    text = "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in text)
    return text if len(text) <= width else f"{text[: width - 1]}…"


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
        where = "the GPU's memory" if re.search("CUDA|HIP|CUBLAS|CUDNN", str(error)) else "the memory"
        raise CourseError(
            f"{where} is not enough{wanted}: {advice}, or end other programs that use it"
        ) from error
