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


def printable(text: str) -> str:
    r"""`text` in characters that can be written as UTF-8, such as the name of a file that is not UTF-8.

    Python puts each such byte into half a character; here it is shown as \xb9 again.
    """
    return _HALF_CHARACTER.sub(_escaped, text)


def is_utf8(text: str) -> bool:
    """Whether every character of `text` is whole; bytes of another encoding, as from a shell, leave halves."""
    return not _HALF_CHARACTER.search(text)


def check_text(what: str, text: str) -> None:
    """Refuse a text that is not UTF-8 before anything reads it.

    Raises:
        CourseError: `text` holds half characters; the message calls it `what` and shows how it begins.
    """
    if not is_utf8(text):
        begin = text[:SHOWN] + ("…" if len(text) > SHOWN else "")
        raise CourseError(
            f"the {what} is not UTF-8: '{begin}'; type it in a terminal or save it in a file that is"
        )


def _escaped(half: re.Match) -> str:
    number = ord(half[0])
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"
