"""Text files: decoded strictly for reading, leniently only for mending."""

import codecs
from collections.abc import Callable
from pathlib import Path

from kolors_course.errors import CourseError

Decode = Callable[[Path], str]
# Characters that take no room and that nobody typed: byte-order mark, zero-width space, word joiner.
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060"))
COMMON_SHARE = 0.9


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
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CourseError(f"{path} line {line}: holds a NUL character; save the file again as UTF-8 text")
    return text


def recover_text(path: Path) -> tuple[str, str]:
    """The text of a file that may not be UTF-8, and the encoding it was in.

    Knows UTF-8, UTF-16 with a byte-order mark (Windows' "Unicode") and GB18030, which contains GBK (Chinese
    Windows and Excel). Bytes of many other encodings happen to be valid GB18030 too, but then they make rare
    characters; so it is believed only if nine in ten of them are among the 6763 common ones of GB 2312.

    Raises:
        CourseError: it is none of these; see `read_utf8`.
    """
    data = _read_bytes(path)
    if data.startswith(codecs.BOM_UTF8):
        encodings = ["utf-8-sig"]
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8", "gb18030"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text and (encoding != "gb18030" or _is_common_chinese(text)):
            return text, encoding
    return read_utf8(path), "utf-8"  # raises, and says where


def tidy(text: str) -> str:
    """`text` on one line, with single spaces and without invisible characters."""
    return " ".join(text.translate(INVISIBLE).split())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CourseError(
            f"cannot read {path}: {error.strerror or error}; mend the permissions of the file"
        ) from error


def _is_common_chinese(text: str) -> bool:
    foreign = "".join(character for character in text if not character.isascii())
    common = foreign.encode("gb2312", errors="ignore").decode("gb2312")
    return len(common) >= COMMON_SHARE * len(foreign)
