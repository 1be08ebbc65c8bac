"""The strict reader: a folder of pictures and captions becomes a `Dataset`, or one clear error.

The rules live in `examine_dataset`, which collects the fault of every row; `read_dataset` refuses to go on if
there is any, `check_dataset` (in `check`) reports them all.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from kolors_course.dataset.folders import CAPTION_SUFFIXES, visible_files
from kolors_course.dataset.layouts import READERS, Listing, find_listing
from kolors_course.dataset.metadata import Row
from kolors_course.dataset.pixels import open_picture
from kolors_course.dataset.text import Decode, is_blank, read_utf8
from kolors_course.errors import CourseError, brief, is_whole, on_one_line

MOST_CHARACTERS = 100_000  # of a caption; Kolors reads some 1,000, and a CSV file may have 131,072 in a cell
MOST_OF_A_NAME, MOST_OF_A_PATH = 255, 3000  # bytes that systems allow, about


@dataclass(frozen=True)
class Sample:
    """One picture and its caption.

    Attributes:
        path: the picture file; open it with `pixels.open_picture`.
        text: the caption, without surrounding spaces, never empty.
        size: (width, height) in pixels, after the EXIF orientation.
        line: where the row starts in the metadata file, counted from 1; 0 where there is no such file.
        repeats: how often it comes in each pass over the data.
    """

    path: Path
    text: str
    size: tuple[int, int]
    line: int
    repeats: int = 1


@dataclass(frozen=True)
class Dataset:
    """Checked samples in the order of the metadata file, or of file names; and the folder they lie in."""

    folder: Path
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Examination:
    """What a dataset says, and for each of its rows a good sample, or one line about its first fault."""

    listing: Listing
    results: tuple[Sample | str, ...]

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(result for result in self.results if isinstance(result, Sample))

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(result for result in self.results if isinstance(result, str))


def read_dataset(path: str | Path) -> Dataset:
    """Read and check a dataset in any of the layouts of `layouts`, and its pictures.

    Every picture is decoded once, so that a damaged file is found now and not in the middle of a training run;
    the pixels are not kept.

    Raises:
        CourseError: anything `examine_dataset` finds; for several bad rows, the first and how many more.
    """
    examination = examine_dataset(path)
    if examination.problems:
        first, *others = examination.problems
        if others:
            rows = "row is" if len(others) == 1 else "rows are"
            first += f" ({len(others)} more {rows} wrong: kolors-course check-dataset lists them)"
        raise CourseError(first)
    return Dataset(examination.listing.folder, examination.samples)


def examine_dataset(path: str | Path, decode: Decode = read_utf8) -> Examination:
    """Apply every rule to a dataset folder and collect the faults of its rows.

    Raises:
        CourseError: the folder or its metadata file cannot be used at all, or there is no picture.
    """
    listing = find_listing(path, decode)
    folder = listing.folder
    if not any(file.name.lower() not in READERS for file in visible_files(folder)):
        raise CourseError(f"{folder} holds no pictures; put those named in {listing.layout} beside it")
    results: list[Sample | str] = []
    first_lines: dict[Path, int] = {}
    for row in listing.rows:
        try:
            results.append(_read_sample(row, folder, first_lines))
        except CourseError as error:
            results.append(on_one_line(f"{row.place}: {error}"))
    return Examination(listing, tuple(results))


def _read_sample(row: Row, folder: Path, first_lines: dict[Path, int]) -> Sample:
    """Check one row; `first_lines` remembers on which line each picture was first listed."""
    if row.fault:
        raise CourseError(row.fault)
    file_name, text = row.file_name.strip(), row.text.strip()
    path = _picture_path(folder, file_name)
    first_line = first_lines.setdefault(path, row.line)
    if first_line != row.line:
        raise CourseError(f"'{file_name}' is already listed on line {first_line}; remove one of the two rows")
    if not is_whole(text):
        raise CourseError(
            f"the caption of '{file_name}', the name of its folder, is not UTF-8; rename the folder"
        )
    if is_blank(text):
        raise CourseError(
            f"the caption of '{file_name}' is empty; describe the picture in {_place_of_caption(row)}"
        )
    if len(text) > MOST_CHARACTERS:
        raise CourseError(f"the caption of '{file_name}' has {len(text)} characters; is it one? shorten it")
    return Sample(path, text, open_picture(path).size, row.line, row.repeats)


def _place_of_caption(row: Row) -> str:
    if row.line:
        return "'text'"
    return row.source.name if row.source.suffix.lower() in CAPTION_SUFFIXES else "the name of its folder"


def _picture_path(folder: Path, file_name: str) -> Path:
    """Where `file_name` lies; subfolders are allowed, with either slash.

    Only the name is judged: a link inside the folder may point elsewhere, as in the Hugging Face cache.
    """
    if not file_name:
        raise CourseError("file_name is empty; fill it in or remove the row")
    if "://" in file_name:
        raise CourseError(
            f"file_name '{brief(file_name, 40)}' is an address; download the picture and give the file's name"
        )
    relative = os.path.normpath(file_name.replace("\\", "/"))
    if any(
        len(os.fsencode(part)) > MOST_OF_A_NAME for part in (*relative.split("/"), relative[MOST_OF_A_PATH:])
    ):
        raise CourseError(f"file_name '{brief(file_name, 40)}' is longer than any file's name; correct it")
    # A Windows path knows drive letters and both slashes, whatever machine this runs on.
    windows = PureWindowsPath(relative)
    if windows.anchor or ".." in windows.parts:
        raise CourseError(
            f"file_name '{brief(file_name, 40)}' leaves the dataset folder; copy the picture beside the metadata "
            f"file and give only its name"
        )
    return folder / relative


def dataset_hash(dataset: Dataset) -> str:
    """SHA-256 (64 hex digits) of the picture files' bytes with their captions, and their repeats if they have any.

    The same data gives the same hash on every machine: file names, folders and row order do not count.

    Raises:
        CourseError: a picture can no longer be read.
    """
    entries = sorted(
        picture + caption + (f" {sample.repeats}" if sample.repeats > 1 else "")
        for sample, (picture, caption) in zip(dataset.samples, sample_hashes(dataset), strict=True)
    )
    return hashlib.sha256("".join(entries).encode()).hexdigest()


def sample_hashes(dataset: Dataset) -> list[tuple[str, str]]:
    """SHA-256 of each picture file's bytes and of its caption, in the order of the samples.

    Raises:
        CourseError: a picture can no longer be read.
    """
    return [
        (_file_sha256(sample.path), hashlib.sha256(sample.text.encode()).hexdigest())
        for sample in dataset.samples
    ]


def _file_sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CourseError(
            f"cannot read {path} again: {error.strerror or error}; the dataset changed since it was read"
        ) from error
