"""`metadata.csv` and `metadata.jsonl`, cut into numbered rows.

Nothing here looks at pictures; the rules about single rows are in `reader`.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kolors_course.dataset.text import Decode
from kolors_course.errors import CourseError, brief, is_whole

METADATA_NAME = "metadata.csv"
JSONL_NAME = "metadata.jsonl"
TRAIN_FOLDER = "train"
COLUMNS = ("file_name", "text")
SEPARATORS = (",", ";", "\t")  # Excel writes the last two, by the country and the kind of file
MOST_NAMED = 6  # columns in a message


@dataclass(frozen=True)
class Row:
    """What a dataset says about one picture, as it is written, not yet checked.

    Attributes:
        source: the file that says it.
        line: where in that file the row starts, from 1; 0 if it is about one picture only.
        file_name: the picture, relative to the dataset's folder.
        text: the caption.
        fault: why the row cannot be used, or "".
        repeats: how often the picture comes in each pass over the data.
    """

    source: Path
    line: int
    file_name: str = ""
    text: str = ""
    fault: str = ""
    repeats: int = 1

    @property
    def place(self) -> str:
        """Where to look, for messages."""
        return f"{self.source} line {self.line}" if self.line else str(self.source)


@dataclass(frozen=True)
class Table:
    """The rows of a metadata file, and what was forgiven in it, one line each."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def read_csv(path: Path, decode: Decode) -> Table:
    """Read `metadata.csv`, any line ending.

    Column names may stand in either order; spaces around them, letter case, and semicolons or tabs instead of commas
    are forgiven, because the meaning is not in doubt. Any other column is refused: a stray `caption` beside `text`
    would leave open which of the two is trained on. Spaces after a comma are skipped, so that `a.png, "one, two"`
    means what it says. Empty lines are skipped.

    Raises:
        CourseError: not readable, not UTF-8 text, wrong columns, broken quoting, or no rows.
    """
    stream = io.StringIO(decode(path), newline="")
    line, text = _header_line(stream)
    # The header is parsed without skipping spaces, to be able to say how it was spelled.
    headers = {separator: _read_header(path, line, text, separator) for separator in SEPARATORS}
    fitting = (mark for mark, names in headers.items() if sorted(_columns(names)) == sorted(COLUMNS))
    separator = next(fitting, SEPARATORS[0])
    header = headers[separator]
    columns = _columns(header)
    if sorted(columns) != sorted(COLUMNS):
        raise CourseError(
            f"{path} line {line}: the columns must be {_quoted(COLUMNS)}, but found {_quoted(header)}; "
            f"make the first line {','.join(COLUMNS)} and leave no other column"
        )
    rows = tuple(_csv_row(path, at, columns, cells) for at, cells in _records(path, stream, line, separator))
    if not rows:
        raise CourseError(f"{path} has no rows below its header; add one row for each picture")
    return Table(rows, (*_spelling(path, line, header), *_separation(path, line, separator)))


def read_jsonl(path: Path, decode: Decode) -> Table:
    """Read `metadata.jsonl`, one JSON object on each line, as Hugging Face's imagefolder has it.

    The keys are `file_name` and `text`, as forgivingly as the columns of `metadata.csv`. Empty lines are skipped.

    Raises:
        CourseError: not readable, not UTF-8 text, no rows, or wrong keys in the first object: then in all,
            most likely.
    """
    # Not splitlines: JSON may hold U+2028 and other characters that it takes for the end of a line.
    lines = decode(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    parsed = [(i, _parse_object(line)) for i, line in enumerate(lines, start=1) if line.strip()]
    if not parsed:
        raise CourseError(f"{path} has no rows; add one line for each picture")
    rows = tuple(_json_row(path, line, record) for line, record in parsed)
    objects = [(line, record) for line, record in parsed if isinstance(record, dict)]
    if not objects:
        return Table(rows, ())
    line, first = objects[0]
    if fault := _wrong_keys(first):
        raise CourseError(f"{path} line {line}: {fault}")
    return Table(rows, _spelling(path, line, tuple(first)))


def _columns(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in names)


def _quoted(names: Sequence[str]) -> str:
    more = [f"and {len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ", ".join([*(f"'{brief(name)}'" for name in names[:MOST_NAMED]), *more]) or "none"


def _spelling(path: Path, line: int, names: Sequence[str]) -> tuple[str, ...]:
    """A note if names are spelled in a way that only this reader forgives."""
    if tuple(names) == _columns(names):
        return ()
    wanted = ",".join(COLUMNS)
    return (f"{path} line {line}: {_quoted(names)} is understood here, but other trainers want {wanted}",)


def _separation(path: Path, line: int, separator: str) -> tuple[str, ...]:
    """A note if something else than commas separates the columns."""
    if separator == SEPARATORS[0]:
        return ()
    what = "tabs" if separator == "\t" else f"'{separator}'"
    return (
        f"{path} line {line}: the columns are separated by {what}, which is understood here, but other trainers want "
        "commas",
    )


def _header_line(stream: io.StringIO) -> tuple[int, str]:
    """The first line that says something, and its number; not that in which Excel notes the separator (sep=;)."""
    number, line = 1, stream.readline()
    while line and (not line.strip() or re.fullmatch(r"sep=.\s*", line)):
        number, line = number + 1, stream.readline()
    return (number, line) if line else (1, "")


def _read_header(path: Path, number: int, line: str, separator: str) -> tuple[str, ...]:
    try:
        return tuple(next(csv.reader([line], delimiter=separator), ()))
    except csv.Error as error:
        raise _broken_csv(path, number, error) from error


def _records(
    path: Path, stream: io.StringIO, header_lines: int, separator: str
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each record, from the stream's position, which is behind the lines of the header."""
    # A tab is a space, too, which would make empty cells vanish.
    spaces = separator != "\t"
    reader = csv.reader(stream, strict=True, skipinitialspace=spaces, delimiter=separator)
    line = header_lines + 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            # A quoted cell may span lines: the next record starts after the last line consumed.
            line = header_lines + reader.line_num + 1
    except csv.Error as error:
        raise _broken_csv(path, line, error) from error


def _broken_csv(path: Path, line: int, error: csv.Error) -> CourseError:
    reason = f"a cell of more than {csv.field_size_limit()} characters" if "limit" in str(error) else error
    return CourseError(
        f"{path} line {line}: not valid CSV ({reason}); most often a double quote is not closed, "
        f"or one inside a quoted caption is not doubled"
    )


def _csv_row(path: Path, line: int, columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(columns):
        fault = (
            f"expected {len(columns)} cells ({','.join(columns)}), found {len(cells)}; "
            f"a caption that holds what separates the columns must stand in double quotes"
        )
        return Row(path, line, fault=fault)
    row = dict(zip(columns, cells, strict=True))
    return Row(path, line, row["file_name"], row["text"])


def _parse_object(line: str) -> dict | str:
    """The JSON object on a line, or what is wrong with it."""
    wanted = '{"file_name": "a.png", "text": "a caption"}'
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        return f"not valid JSON ({error.msg}); each line must be like {wanted}"
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        return f"not valid JSON (nested too deep, or a number too long); each line must be like {wanted}"
    return record if isinstance(record, dict) else f"not a JSON object; each line must be like {wanted}"


def _wrong_keys(record: dict) -> str:
    if sorted(_columns(tuple(record))) == sorted(COLUMNS):
        return ""
    found = _quoted(tuple(record))
    return f"the keys must be {_quoted(COLUMNS)}, but found {found}; rename them and leave no other key"


def _json_row(path: Path, line: int, record: dict | str) -> Row:
    if isinstance(record, str):
        return Row(path, line, fault=record)
    if fault := _wrong_keys(record):
        return Row(path, line, fault=fault)
    cells = dict(zip(_columns(tuple(record)), record.values(), strict=True))
    for name, value in cells.items():
        if not isinstance(value, str):
            return Row(
                path, line, fault=f"{name} is {json.dumps(value)[:40]}; it must be text in double quotes"
            )
        if "\0" in value:
            return Row(path, line, fault=f"{name} holds a NUL character; remove it")
        if not is_whole(value):
            return Row(
                path, line, fault=f"{name} holds half a character; write it out instead of as \\u escapes"
            )
    return Row(path, line, **cells)
