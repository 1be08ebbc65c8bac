"""The one exception that means "your input, not our code"."""

import re

SHOWN = 40  # characters of a text that a message repeats
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class CourseError(Exception):
    """A mistake the user can mend.

    The message is one line: what is wrong, where (file, line or key) and how to mend it. The command
    line prints it without a traceback and exits with status 2.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


def printable(text: str, backslash: str = "\\") -> str:
    r"""`text` in characters that can be written as UTF-8, such as the name of a file that is not UTF-8.

    Python puts each such byte into half a character; here it is shown as \xb9 again. Inside JSON a backslash is two.
    """
    return _HALF_CHARACTER.sub(lambda half: backslash + _code(half[0]), text)


def is_whole(text: str) -> bool:
    """Whether every character of `text` is whole; bytes of another encoding, as from a shell, leave halves."""
    return not _HALF_CHARACTER.search(text)


def short(text: str) -> str:
    """`text`, or how it begins: messages repeat nothing long."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _code(half: str) -> str:
    number = ord(half)
    return f"x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"u{number:04x}"
