"""Text files: decoded strictly for reading, leniently only for mending."""

import codecs
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from kolors_course.dataset.encodings import GBK, SURE, gbk_evidence, is_utf8
from kolors_course.errors import CourseError, brief, is_whole

Decode = Callable[[Path], str]
MARK = "\ufeff"  # at the beginning of a file, some programs write it twice
MOST_BYTES = 256 << 20  # of a text file; a million rows have some 100 MB
# Characters that take no room and say nothing: zero-width space, word joiner, byte-order mark, soft hyphen, controls
# of direction and of terminals. Joiners and tags stay: they make up emoji. Controls that are spaces stay spaces.
INVISIBLE = dict.fromkeys(
    [
        *map(ord, "\u00ad\u061c\u180e\u200b\u2060\ufeff"),
        *range(0x200E, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *(*range(0x09), *range(0x0E, 0x1C), *range(0x7F, 0x85), *range(0x86, 0xA0)),
    ]
)
# Categories of characters that leave no ink alone: controls, formats (zero width, direction, tags), marks such as
# variation selectors, spaces; and those that are blank although their category says otherwise.
_INKLESS = ("Cc", "Cf", "Cs", "Mn", "Me", "Zl", "Zp", "Zs")
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffc\U0001d159")


def read_utf8(path: Path) -> str:
    """The text of a UTF-8 file, without its byte-order mark.

    Raises:
        CourseError: not readable, or not UTF-8 text; names the line and the byte.
    """
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.object` is what was decoded: the file without its byte-order mark.
        start = error.start + len(data) - len(error.object)
        line = data.count(b"\n", 0, start) + 1
        raise CourseError(
            f"{path} line {line}: byte 0x{data[start]:02x} at position {start} of the file is not UTF-8; "
            f"save the file again as UTF-8 (in Excel: 'CSV UTF-8')"
        ) from error
    if not is_utf8(data):
        line = text.count("\n", 0, next(i for i, character in enumerate(text) if not character.isascii())) + 1
        raise CourseError(
            f"{path} line {line}: reads '{brief(tidy(text), 40)}' in UTF-8, but "
            f"'{brief(tidy(data.decode(GBK)), 40)}' in GBK, so it is most likely not UTF-8; save it "
            "again as UTF-8"
        )
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CourseError(f"{path} line {line}: holds a NUL character; save the file again as UTF-8 text")
    return text.lstrip(MARK)


class Recovery:
    """Reads text files of one data set that may not be in UTF-8.

    Knows UTF-8, UTF-16 with a byte-order mark (Windows' "Unicode") and GBK (Chinese Windows and Excel), which must be
    sure: by the file's own characters (see `gbk_evidence`), or in part by those of the other files, which most likely
    were saved by the same program.

    Args:
        files: the text files of the data set; those that cannot be read count for nothing.
    """

    def __init__(self, files: Iterable[Path] = ()):
        contents = (data for data in map(_bytes_or_none, files) if data and _encoding_of(data) is None)
        evidence = map(gbk_evidence, contents)
        # One long file does not outweigh another that speaks against it.
        self._together = sum(min(SURE, max(-2 * SURE, each)) for each in evidence)

    def read(self, path: Path) -> tuple[str, str]:
        """The text of a file, and the encoding it was in.

        Raises:
            CourseError: it is not surely any of these; see `read_utf8`.
        """
        data = _read_bytes(path)
        doubt = SURE if self._together < SURE else -SURE
        encoding = _encoding_of(data, doubt) or (GBK if self._is_gbk(data) else "utf-8")
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            text = "\0"
        # `read_utf8` raises, and says where.
        return (read_utf8(path) if "\0" in text else text.lstrip(MARK)), encoding

    def _is_gbk(self, data: bytes) -> bool:
        evidence = gbk_evidence(data)
        return evidence >= SURE or (evidence > 0 and self._together >= SURE)


def check_text(what: str, text: str) -> None:
    """Refuse a text from a shell or a program that was not UTF-8 before anything else reads it.

    Raises:
        CourseError: `text` holds half characters, as bytes of another encoding become, or is GBK that is valid as
            UTF-8 by chance; the message calls it `what` and shows how it begins.
    """
    if not is_whole(text) or not is_utf8(text.encode()):
        raise CourseError(
            f"the {what} is not UTF-8: '{brief(text, 40)}'; give it from a terminal or a file that is in UTF-8"
        )


def is_blank(text: str) -> bool:
    """Whether nothing of `text` could be seen on paper."""
    return all(unicodedata.category(c) in _INKLESS or c in _BLANK for c in text)


def tidy(text: str) -> str:
    """`text` on one line, with single spaces and without invisible characters."""
    return " ".join(text.translate(INVISIBLE).split())


def _read_bytes(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise CourseError(f"{path} has {size} bytes, more than any list of captions; give the right file")
        return path.read_bytes()
    except OSError as error:
        raise CourseError(
            f"cannot read {path}: {error.strerror or error}; mend the permissions of the file"
        ) from error


def _bytes_or_none(path: Path) -> bytes | None:
    try:
        return _read_bytes(path)
    except CourseError:
        return None


def _encoding_of(data: bytes, doubt: float = SURE) -> str | None:
    """The encoding that a byte-order mark tells, or UTF-8 if the bytes are that; None if it is neither."""
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8" if is_utf8(data, doubt) else None
