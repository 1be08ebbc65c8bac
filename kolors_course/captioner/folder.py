"""Captions for a folder of pictures, as metadata that `read_dataset` reads.

Each caption is noted in a hidden file as soon as it is there, so that a job of hours goes on where it stopped; the
metadata file appears in the end, whole.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kolors_course.captioner.choices import METADATA_FORMATS
from kolors_course.captioner.interface import Captioner, NoCaption
from kolors_course.dataset.folders import CAPTION_SUFFIXES, Captions, picture_files
from kolors_course.dataset.metadata import COLUMNS, JSONL_NAME, METADATA_NAME, TRAIN_FOLDER
from kolors_course.dataset.pixels import open_picture
from kolors_course.errors import CourseError, is_whole
from kolors_course.files import atomic_path, check_output, json_text

NAMES = {"csv": METADATA_NAME, "jsonl": JSONL_NAME}
NOTES = ".captions.jsonl"  # hidden, so that no reader of data sets takes it for part of one
MOST_NOTES = 200_000_000  # bytes; larger is not ours


@dataclass(frozen=True)
class CaptionJob:
    """What is to be written.

    Attributes:
        folder: the pictures, in it or in train/ in it, and below.
        style: words put behind each caption, such as "剪纸风格"; "" for none.
        overwrite: replace captions that are there.

    Raises:
        CourseError: an unknown format.
    """

    folder: Path
    language: str
    length: str = "sentence"
    format: str = "csv"
    style: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.format not in METADATA_FORMATS:
            raise CourseError(f"format '{self.format}' is not one of {', '.join(METADATA_FORMATS)}")

    @property
    def place(self) -> Path:
        """Where the pictures lie and the metadata go: train/ if pictures are there, as readers look."""
        train = self.folder / TRAIN_FOLDER
        return train if picture_files(train) else self.folder

    @property
    def target(self) -> Path:
        return self.place / NAMES[self.format]

    def finish(self, text: str) -> str:
        """A caption with the style's words."""
        return f"{text}{'，' if self.language == 'zh' else ', '}{self.style}" if self.style else text


def caption_folder(
    job: CaptionJob, captioner: Captioner, advance: Callable[[int], None] | None = None
) -> dict[str, str]:
    """Caption every picture of a folder and write its metadata; returns file name -> caption.

    A picture that is noted with the same bytes, by the same captioner and for the same language and length, is not
    captioned again.

    Args:
        advance: told how many pictures are done.

    Raises:
        CourseError: no folder, no pictures, captions that are there and not to be overwritten, a damaged picture, or
            pictures that the captioner finds no words for; what it found is noted and not lost.
    """
    pictures, place = check_job(job), job.place
    notes = _Notes(place / NOTES, {**_asked(job), "captioner": captioner.name})
    known = notes.read()
    files = {file: _fingerprint(file) for file in pictures}
    wanting = [file for file in pictures if files[file] not in known]
    done, refused = len(pictures) - len(wanting), {}
    report = advance or (lambda _: None)
    report(done)
    for start in range(0, len(wanting), captioner.batch_size):
        batch = wanting[start : start + captioner.batch_size]
        answers = captioner.caption([open_picture(file) for file in batch], job.language, job.length)
        for file, answer in zip(batch, answers, strict=True):
            if isinstance(answer, NoCaption):
                refused[file] = answer.reason
            else:
                known[files[file]] = answer
        notes.add({files[file]: known[files[file]] for file in batch if file not in refused})
        done += len(batch)
        report(done)
    _refuse(refused, len(pictures), place)
    captions = {file.relative_to(place).as_posix(): job.finish(known[files[file]]) for file in pictures}
    write_captions(place / NAMES[job.format], captions)
    notes.remove()
    return captions


def check_job(job: CaptionJob) -> list[Path]:
    """The pictures of a job, after everything that can be refused before any picture is looked at.

    Raises:
        CourseError: see `caption_folder`.
    """
    if not job.folder.is_dir():
        fault = "is a file, not a folder" if job.folder.exists() else "does not exist"
        raise CourseError(f"{job.folder} {fault}; give a folder of pictures")
    place = job.place
    pictures = picture_files(place)
    if not pictures:
        raise CourseError(f"{job.folder} holds no pictures; put some there, as PNG or JPEG")
    for file in pictures:
        if not is_whole(str(file.relative_to(place))):
            raise CourseError(f"{file}: its name is not UTF-8, and no metadata file can hold it; rename it")
    other = next(place / name for key, name in NAMES.items() if key != job.format)
    if other.exists():
        raise CourseError(
            f"{other} is there, and a data set has one metadata file; remove it, or add "
            f"--format {other.suffix[1:]} --overwrite"
        )
    if not job.overwrite:
        _refuse_to_overwrite(job, pictures)
    check_output(job.target)
    return pictures


def _refuse_to_overwrite(job: CaptionJob, pictures: list[Path]) -> None:
    if job.target.exists():
        raise CourseError(f"{job.target} is there; add --overwrite to replace its captions")
    captions = Captions(job.place)
    files = [file for picture in pictures for file in captions.of(picture)]
    if files:
        raise CourseError(
            f"{files[0]} describes a picture, and {job.target.name} would come before all "
            f"{' and '.join(CAPTION_SUFFIXES)} files; add --overwrite if it should"
        )


def _refuse(refused: dict[Path, str], total: int, place: Path) -> None:
    if not refused:
        return
    file, reason = next(iter(refused.items()))
    more = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
    raise CourseError(
        f"no caption for {file.relative_to(place)} ({reason}){more}; the other {total - len(refused)} of {total} are "
        "kept: run the same command again, or take the pictures out"
    )


def write_captions(target: Path, captions: dict[str, str]) -> None:
    """Write file name -> caption as metadata.csv (UTF-8 with a mark, for Excel) or metadata.jsonl, whole."""
    if target.suffix == ".jsonl":
        text = "".join(json_text(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in captions.items())
        encoding = "utf-8"
    else:
        stream = io.StringIO(newline="")
        table = csv.writer(stream, lineterminator="\n")
        table.writerows([COLUMNS, *captions.items()])
        text, encoding = stream.getvalue(), "utf-8-sig"
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding=encoding, newline="")


def _asked(job: CaptionJob) -> dict[str, str]:
    return {key: asdict(job)[key] for key in ("language", "length")}


def _fingerprint(file: Path) -> str:
    """SHA-256 of a picture's bytes."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CourseError(f"cannot read {file}: {error.strerror or error}; mend its permissions") from error


@dataclass(frozen=True)
class _Notes:
    """Captions so far, one JSON object a line: first what was asked for, then hash of a picture -> caption."""

    path: Path
    asked: dict[str, str]

    def read(self) -> dict[str, str]:
        """What is noted for the same job; of another job, or damaged, nothing. A line cut off is left out."""
        lines = [line for line in self._lines() if isinstance(line, dict)]
        if not lines or lines[0] != self.asked:
            self.remove()
            return {}
        return {
            key: text
            for line in lines[1:]
            for key, text in line.items()
            if isinstance(text, str) and text.strip()
        }

    def _lines(self) -> Iterator[object]:
        try:
            if not self.path.is_file() or self.path.stat().st_size > MOST_NOTES:
                return
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise CourseError(f"cannot read {self.path}: {error.strerror or error}; remove it") from error
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue

    def add(self, captions: dict[str, str]) -> None:
        try:
            new = not self.path.exists()
            with self.path.open("a", encoding="utf-8") as file:
                rows = [self.asked] if new else []
                rows += [{key: text} for key, text in captions.items()]
                file.writelines(
                    "\n" * (not new and i == 0) + json_text(row) + "\n" for i, row in enumerate(rows)
                )
        except OSError as error:
            raise CourseError(
                f"cannot write {self.path}: {error.strerror or error}; make room, then run the same command again"
            ) from error

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
