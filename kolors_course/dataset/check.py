"""The report on a dataset folder: what is in it, what is wrong, and what will train badly."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from kolors_course.dataset.metadata import COLUMNS
from kolors_course.dataset.pixels import open_picture
from kolors_course.dataset.reader import Examination, Sample, examine
from kolors_course.errors import CourseError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Spread:
    """Smallest, middle and largest of some numbers."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """The spread of `values`, or None if there are none."""
        return cls(min(values), median(values), max(values)) if values else None

    def __str__(self) -> str:
        return f"{self.minimum:g} to {self.maximum:g}, median {self.median:g}"


@dataclass(frozen=True)
class Report:
    """What `check_dataset` found; counts and spreads are those of the good rows.

    Attributes:
        folder: the folder that was checked, as given.
        rows: rows in `metadata.csv`, good and bad.
        pictures: good rows.
        sizes: "WIDTHxHEIGHT" in pixels → how many pictures, commonest first.
        aspect_ratios: width / height, to three decimals.
        caption_lengths: characters in a caption.
        distinct_captions: how many different captions there are.
        problems: what makes `read_dataset` refuse the folder, one line each.
        warnings: what can be trained on, but badly, one line each.
    """

    folder: str
    rows: int
    pictures: int
    sizes: dict[str, int]
    aspect_ratios: Spread | None
    caption_lengths: Spread | None
    distinct_captions: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether `read_dataset` accepts the folder."""
        return not self.problems

    def to_dict(self) -> dict:
        """Plain data for JSON: every attribute and `ok`."""
        return {"ok": self.ok, **asdict(self)}

    def lines(self) -> list[str]:
        """The report as lines of text for a person."""
        lines = [f"dataset: {self.folder}", f"rows: {self.rows}, of which good: {self.pictures}"]
        if self.pictures:
            sizes = ", ".join(f"{size} ({count})" for size, count in self.sizes.items())
            lines += [
                f"sizes (pictures): {sizes}",
                f"width / height: {self.aspect_ratios}",
                f"caption characters: {self.caption_lengths}",
                f"distinct captions: {self.distinct_captions}",
            ]
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines.append("result: ready to train on" if self.ok else "result: mend the problems before training")
        return lines


def check_dataset(path: str | Path, training_size: tuple[int, int] | None = None) -> Report:
    """Check a dataset folder by the rules of `read_dataset`, collecting everything; never raises for it.

    Args:
        path: as for `read_dataset`.
        training_size: (width, height) in pixels; if given, pictures that must be enlarged are warned of.
    """
    try:
        examination = examine(path)
    except CourseError as error:
        return Report(str(path), 0, 0, {}, None, None, 0, (str(error),), ())
    samples = examination.samples
    sizes = Counter("{}x{}".format(*sample.size) for sample in samples)
    return Report(
        folder=str(path),
        rows=len(examination.table.rows),
        pictures=len(samples),
        sizes=dict(sizes.most_common()),
        aspect_ratios=Spread.of([round(sample.size[0] / sample.size[1], 3) for sample in samples]),
        caption_lengths=Spread.of([len(sample.text) for sample in samples]),
        distinct_captions=len({sample.text for sample in samples}),
        problems=examination.problems,
        warnings=tuple(_warnings(examination, training_size)),
    )


def _warnings(examination: Examination, training_size: tuple[int, int] | None) -> Iterator[str]:
    yield from _header_spelling(examination)
    yield from _same_caption(examination.samples)
    if training_size is not None:
        yield from _too_small(examination.samples, *training_size)
    yield from _duplicate_pictures(examination.samples)
    yield from _unlisted_pictures(examination)


def _header_spelling(examination: Examination) -> Iterator[str]:
    table = examination.table
    if table.header != table.columns:
        found = ", ".join(repr(name) for name in table.header)
        yield f"{table.path} line 1: {found} is understood here, but other trainers want {','.join(COLUMNS)}"


def _same_caption(samples: Sequence[Sample]) -> Iterator[str]:
    if len(samples) > 1 and len({sample.text for sample in samples}) == 1:
        yield (
            f"all {len(samples)} pictures have the same caption {samples[0].text!r}: nothing tells the style "
            f"from what each picture shows; describe each one"
        )


def _too_small(samples: Sequence[Sample], width: int, height: int) -> Iterator[str]:
    small = [sample for sample in samples if sample.size[0] < width or sample.size[1] < height]
    if small:
        yield (
            f"{_count(small)} smaller than the training size {width}x{height} and will be enlarged and "
            f"blurred, the first is {small[0].path.name} ({small[0].size[0]}x{small[0].size[1]})"
        )


def _duplicate_pictures(samples: Sequence[Sample]) -> Iterator[str]:
    """Pictures with equal pixels, whatever the file format."""
    groups = defaultdict(list)
    for sample in samples:
        pixels = hashlib.sha256(open_picture(sample.path).tobytes()).hexdigest()
        groups[sample.size, pixels].append(sample)
    for group in groups.values():
        if len(group) > 1:
            names = ", ".join(f"{sample.path.name} (line {sample.line})" for sample in group)
            yield f"the same picture {len(group)} times: {names}; it counts that often in training"


def _unlisted_pictures(examination: Examination) -> Iterator[str]:
    """Only said of a table without bad rows: a bad row may be meant for the picture that looks unlisted."""
    if examination.problems:
        return
    folder = examination.table.path.parent
    listed = {sample.path for sample in examination.samples}
    unlisted = sorted(
        file
        for file in folder.rglob("[!.]*")
        if file.suffix.lower() in PICTURE_SUFFIXES and file not in listed
    )
    if unlisted:
        first = unlisted[0].relative_to(folder)
        yield f"{_count(unlisted)} not listed in {examination.table.path}, the first is {first}"


def _count(things: Sequence) -> str:
    return "1 picture is" if len(things) == 1 else f"{len(things)} pictures are"
