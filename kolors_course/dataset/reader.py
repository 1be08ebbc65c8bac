"""The strict reader: a folder in the camp's layout becomes a `Dataset`, or one clear error.

The rules live in `examine`, which collects the fault of every row; `read_dataset` refuses to go on if
there is any, `check_dataset` (in `check`) reports them all.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from kolors_course.dataset.metadata import METADATA_NAME, Row, Table, find_folder, read_table
from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError


@dataclass(frozen=True)
class Sample:
    """One picture and its caption.

    Attributes:
        path: the picture file; open it with `pixels.open_picture`.
        text: the caption, without surrounding spaces, never empty.
        size: (width, height) in pixels, after the EXIF orientation.
        line: where the row starts in `metadata.csv`, counted from 1.
    """

    path: Path
    text: str
    size: tuple[int, int]
    line: int


@dataclass(frozen=True)
class Dataset:
    """Checked samples in the order of `metadata.csv`, and the folder that holds it."""

    folder: Path
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Examination:
    """The samples of the good rows, and one line for each bad row (its first fault)."""

    table: Table
    samples: tuple[Sample, ...]
    problems: tuple[str, ...]


def read_dataset(path: str | Path) -> Dataset:
    """Read and check `<path>/train/metadata.csv` (or `<path>/metadata.csv`) and its pictures.

    Every picture is decoded once, so that a damaged file is found now and not in the middle of a training;
    the pixels are not kept.

    Raises:
        CourseError: anything `examine` finds; for several bad rows, the first and how many more.
    """
    examination = examine(path)
    if examination.problems:
        first, *others = examination.problems
        if others:
            rows = "row is" if len(others) == 1 else "rows are"
            first += f" ({len(others)} more {rows} wrong: kolors-course check-dataset lists them)"
        raise CourseError(first)
    return Dataset(examination.table.path.parent, examination.samples)


def examine(path: str | Path) -> Examination:
    """Apply every rule to a dataset folder and collect the faults of its rows.

    Raises:
        CourseError: the folder or `metadata.csv` cannot be used at all, or there is no picture.
    """
    folder = find_folder(path)
    table = read_table(folder / METADATA_NAME)
    if not any(file.is_file() and file.name != METADATA_NAME for file in folder.rglob("*")):
        raise CourseError(f"{folder} holds no pictures; put those named in {METADATA_NAME} beside it")
    samples, problems = [], []
    first_lines: dict[Path, int] = {}
    for row in table.rows:
        try:
            samples.append(_read_sample(row, table, first_lines))
        except CourseError as error:
            problems.append(f"{table.path} line {row.line}: {error}")
    return Examination(table, tuple(samples), tuple(problems))


def _read_sample(row: Row, table: Table, first_lines: dict[Path, int]) -> Sample:
    """Check one row; `first_lines` remembers on which line each picture was first listed."""
    if len(row.cells) != len(table.columns):
        raise CourseError(
            f"expected {len(table.columns)} cells ({','.join(table.columns)}), found {len(row.cells)}; "
            f"a caption that holds a comma must stand in double quotes"
        )
    cells = dict(zip(table.columns, row.cells, strict=True))
    path = _picture_path(table.path.parent, cells["file_name"])
    first_line = first_lines.setdefault(path, row.line)
    if first_line != row.line:
        raise CourseError(
            f"{cells['file_name']!r} is already listed on line {first_line}; remove one of the two rows"
        )
    if not cells["text"]:
        raise CourseError(f"the caption of {cells['file_name']!r} is empty; describe the picture in 'text'")
    return Sample(path, cells["text"], open_picture(path).size, row.line)


def _picture_path(folder: Path, file_name: str) -> Path:
    """Where `file_name` lies; subfolders are allowed, with either slash.

    Only the name is judged: a link inside the folder may point elsewhere, as in the Hugging Face cache.
    """
    if not file_name:
        raise CourseError("file_name is empty; fill it in or remove the row")
    relative = os.path.normpath(file_name.replace("\\", "/"))
    # A Windows path knows drive letters and both slashes, whatever machine this runs on.
    windows = PureWindowsPath(relative)
    if windows.anchor or ".." in windows.parts:
        raise CourseError(
            f"file_name {file_name!r} leaves the dataset folder; copy the picture beside {METADATA_NAME} "
            f"and give only its name"
        )
    return folder / relative


def dataset_hash(dataset: Dataset) -> str:
    """SHA-256 (64 hex digits) of the picture files' bytes with their captions.

    The same data gives the same hash on every machine: file names, folders and row order do not count.

    Raises:
        CourseError: a picture can no longer be read.
    """
    entries = sorted(
        _file_sha256(sample.path) + hashlib.sha256(sample.text.encode()).hexdigest()
        for sample in dataset.samples
    )
    return hashlib.sha256("".join(entries).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CourseError(
            f"cannot read {path} again: {error.strerror or error}; the dataset changed since it was read"
        ) from error
