"""Mending what can be mended without guessing, into a new folder."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from kolors_course.dataset.duplicates import fingerprint
from kolors_course.dataset.filters import Filter
from kolors_course.dataset.folders import mask_file
from kolors_course.dataset.layouts import READERS, find_listing
from kolors_course.dataset.metadata import Row
from kolors_course.dataset.pixels import open_picture, storage_quirks
from kolors_course.dataset.reader import Examination, Sample, examine_dataset
from kolors_course.dataset.text import Recovery, tidy
from kolors_course.dataset.writer import picture_name, write_dataset
from kolors_course.errors import CourseError, brief, on_one_line


@dataclass(frozen=True)
class Repair:
    """Where the mended dataset lies, how many pictures it has, and what was done, one line for each thing."""

    folder: Path
    pictures: int
    actions: tuple[str, ...]


def fix_dataset(path: str | Path, target: str | Path, wanted: Filter | None = None) -> Repair:
    """Write a dataset that every trainer reads: the camp's layout, RGB PNG files, upright, on white, in UTF-8.

    Metadata and caption files may be in UTF-16 or GBK. Left out are rows with a fault, further copies of the same
    picture, pictures that `wanted` turns away, and loss masks that are damaged or not of their picture's size;
    captions lose line breaks, double and invisible spaces. The original is only read.

    Args:
        path: as for `read_dataset`.
        target: a new or empty folder outside `path`.
        wanted: which pictures to keep; all by default.

    Raises:
        CourseError: `path` cannot be understood at all, nothing of it can be kept, or `target` lies inside it, is
            in use or cannot be written to. Then nothing is written.
    """
    if Path(target).resolve().is_relative_to(Path(path).resolve()):
        raise CourseError(f"{target} lies inside {path}, which must not be changed; choose another folder")
    actions: list[str] = []
    recovery = Recovery(_text_files(path))

    def decode(file: Path) -> str:
        text, encoding = recovery.read(file)
        if encoding == "utf-8-sig":
            actions.append(f"{file}: removed the byte-order mark")
        elif encoding != "utf-8":
            actions.append(f"{file}: turned from {encoding} into UTF-8; look whether the captions are right")
        return text

    examination = examine_dataset(path, decode)
    if examination.listing.layout in READERS:
        actions += [f"put right: {note}" for note in examination.listing.notes]
    actions += [f"not read: {line}" for line in examination.listing.ignored]
    if fault := wanted and wanted.leaves_nothing([sample.size for sample in examination.samples]):
        raise CourseError(fault)
    if len({sample.repeats for sample in examination.samples}) > 1:
        actions.append(
            "not kept: how often pictures come in each pass; train from the original folder to keep that"
        )
    mender = _Mender(examination, wanted or Filter(), actions)
    folder = write_dataset(target, mender.items(), "utf-8")
    return Repair(folder, mender.pictures, tuple(map(on_one_line, actions)))


def _text_files(path: str | Path) -> list[Path]:
    """The files that captions are read from, without reading them."""
    files: list[Path] = []

    def unread(file: Path) -> str:
        files.append(file)
        return ""

    with suppress(CourseError):  # an empty table is refused, and a missing one; `examine_dataset` says so
        find_listing(path, unread)
    return files


@dataclass
class _Mender:
    """Goes through the rows in order, counts what it keeps and appends to `actions` what it does."""

    examination: Examination
    wanted: Filter
    actions: list[str]
    pictures: int = 0

    def items(self) -> Iterator[tuple[Image.Image, str, Image.Image | None]]:
        first_with: dict[str, str] = {}  # pixels -> name of the picture that was kept
        for row, result in zip(self.examination.listing.rows, self.examination.results, strict=True):
            if isinstance(result, str):
                self.actions.append(f"left out: {result}")
                continue
            name = result.path.relative_to(self.examination.listing.folder).as_posix()
            picture, caption = open_picture(result.path), tidy(result.text)
            pixels = fingerprint(picture).pixels
            if fault := self._fault(result, caption, first_with.get(pixels)):
                self.actions.append(f"left out: {row.place}: {name}: {fault}")
                continue
            first_with[pixels] = name
            mask, lost = _mask_of(result)
            self.actions.append(
                f"kept: {name} as {picture_name(self.pictures)}{_changes(row, result, caption, lost)}"
            )
            self.pictures += 1
            yield picture, caption, mask
        if not self.pictures:
            raise CourseError(f"nothing is left to keep; {self.actions[-1]}")

    def _fault(self, sample: Sample, caption: str, same: str | None) -> str:
        if same:
            return f"the same picture as {same}; the caption '{brief(caption, 40)}' goes with it"
        return self.wanted.fault_of(sample)


def _mask_of(sample: Sample) -> tuple[Image.Image | None, str]:
    """The loss mask of a picture, upright as the picture is, if it has one; and why it is lost, or ""."""
    path = mask_file(sample.path)
    if not os.path.isfile(path):
        return None, ""
    try:
        mask = open_picture(path)
    except CourseError as error:
        return None, f"its mask was not copied: {error}"
    if mask.size != sample.size:
        return None, f"its mask {path.name} was not copied: it is {mask.width}x{mask.height}"
    return mask, ""


def _changes(row: Row, sample: Sample, caption: str, lost: str) -> str:
    """What is different about a picture that is kept, in brackets, or ""."""
    changes = [f"was {quirk}" for quirk in storage_quirks(sample.path)]
    # The line break at the end of a caption file is no flaw of the caption.
    if caption != row.text.rstrip("\r\n"):
        changes.append(f"caption tidied to '{brief(caption, 40)}'")
    if lost:
        changes.append(lost)
    return f" ({'; '.join(changes)})" if changes else ""
