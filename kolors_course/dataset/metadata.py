"""`metadata.csv`: finding it, decoding it and cutting it into numbered rows.

Nothing here looks at pictures; the rules about single rows are in `reader`.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from kolors_course.errors import CourseError

METADATA_NAME = "metadata.csv"
TRAIN_FOLDER = "train"
COLUMNS = ("file_name", "text")


@dataclass(frozen=True)
class Row:
    """One record of the table: its cells, and the line of the file on which it starts (from 1)."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A parsed `metadata.csv`.

    `header` holds the column names as they are spelled in the file, `columns` the same names with spaces
    and letter case removed, in the same order.
    """

    path: Path
    header: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def find_folder(path: str | Path) -> Path:
    """The folder that holds `metadata.csv`: `path/train` (the camp's layout) or else `path` itself.

    Raises:
        CourseError: `path` is missing or not a folder, or there is no `metadata.csv` in either place.
    """
    path = Path(path)
    if not path.is_dir():
        fault = "is a file, not a folder" if path.exists() else "does not exist"
        raise CourseError(
            f"dataset folder {path} {fault}; give the folder that holds {TRAIN_FOLDER}/{METADATA_NAME}"
        )
    for folder in (path / TRAIN_FOLDER, path):
        if (folder / METADATA_NAME).is_file():
            return folder
    raise CourseError(
        f"{METADATA_NAME} is missing: neither {path / TRAIN_FOLDER / METADATA_NAME} nor "
        f"{path / METADATA_NAME} exists; write one with the columns {','.join(COLUMNS)}"
    )


def read_table(path: Path) -> Table:
    """Read `metadata.csv`, in UTF-8 with or without a byte-order mark, any line ending.

    Column names may stand in either order; spaces around them and letter case are forgiven, because the
    meaning is not in doubt. Any other column is refused: a stray `caption` beside `text` would leave open
    which of the two is trained on. Spaces after a comma are skipped, so that `a.png, "one, two"` means what
    it says. Empty lines are skipped.

    Raises:
        CourseError: not readable, not UTF-8 text, wrong columns, broken quoting, or no rows.
    """
    stream = io.StringIO(_decode(path), newline="")
    # The header is parsed without skipping spaces, to be able to say how it was spelled.
    header = _read_header(path, stream.readline())
    columns = _check_columns(path, header)
    rows = _read_rows(path, stream)
    if not rows:
        raise CourseError(f"{path} has no rows below its header; add one row for each picture")
    return Table(path, header, columns, rows)


def _decode(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CourseError(
            f"cannot read {path}: {error.strerror or error}; mend the permissions of the file"
        ) from error
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


def _read_header(path: Path, line: str) -> tuple[str, ...]:
    try:
        return tuple(next(csv.reader([line]), ()))
    except csv.Error as error:
        raise _broken_csv(path, 1, error) from error


def _check_columns(path: Path, header: tuple[str, ...]) -> tuple[str, ...]:
    columns = tuple(name.strip().lower() for name in header)
    if sorted(columns) != sorted(COLUMNS):
        found = ", ".join(repr(name) for name in header) or "none"
        raise CourseError(
            f"{path} line 1: the columns must be 'file_name', 'text', but found {found}; "
            f"make the first line {','.join(COLUMNS)} and leave no other column"
        )
    return columns


def _read_rows(path: Path, stream: io.StringIO) -> tuple[Row, ...]:
    """The rows from the stream's position, which is line 2 of the file."""
    reader = csv.reader(stream, strict=True, skipinitialspace=True)
    rows = []
    header_lines = 1
    line = header_lines + 1
    try:
        for cells in reader:
            if cells:
                rows.append(Row(line, tuple(cell.strip() for cell in cells)))
            # A quoted cell may span lines: the next record starts after the last line consumed.
            line = header_lines + reader.line_num + 1
    except csv.Error as error:
        raise _broken_csv(path, line, error) from error
    return tuple(rows)


def _broken_csv(path: Path, line: int, error: csv.Error) -> CourseError:
    return CourseError(
        f"{path} line {line}: not valid CSV ({error}); most often a double quote is not closed, "
        f"or one inside a quoted caption is not doubled"
    )
