"""The dataset doctor: what is in a folder, what is wrong, and what will train badly."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from kolors_course.dataset.buckets import assign_bucket, cropped_share, propose_buckets, step_for
from kolors_course.dataset.duplicates import Fingerprint, fingerprint, same_pictures, similar_pictures
from kolors_course.dataset.filters import Filter
from kolors_course.dataset.folders import picture_files
from kolors_course.dataset.layouts import READERS
from kolors_course.dataset.pixels import cover_picture, open_picture, storage_quirks
from kolors_course.dataset.reader import Examination, Sample, examine_dataset
from kolors_course.dataset.report import SEVERITIES, Finding, Report, Spread
from kolors_course.errors import CourseError, brief, on_one_line, printable
from kolors_course.prompting import looks_weighted

TEXT_TOKENS = 254  # Kolors reads 256 tokens, of which the prefix [gMASK] sop takes two
MAX_CROP = 0.2
# From Kolors-mini's VAE, 32 scenes of its world come back at 24.8 to 31.4 dB; nine in ten of the same with hues
# turned by a third at less than 20.6, of green duotones at less than 20.7, of chalk on a board at less than 19.8.
LEAST_PSNR, WORST = 21.0, 4
TOGETHER = 8 * 128**2  # pixels that are sent through a VAE at a time


def check_dataset(
    path: str | Path,
    training_size: tuple[int, int] | None = None,
    *,
    count_tokens: Callable[[str], int] | None = None,
    wanted: Filter | None = None,
    redraw: Callable[[Sequence[Image.Image]], list[float]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a dataset folder by the rules of `read_dataset`, collecting everything; never raises for it.

    Args:
        path: as for `read_dataset`.
        training_size: (width, height) in pixels; if given, pictures that must be enlarged or much cropped are
            warned of, and buckets of the same area are proposed.
        count_tokens: tokens of a caption, without the prefix.
        wanted: pictures that it turns away are warned of.
        redraw: how like pictures of the training size are to themselves once a model's VAE has drawn them, in dB;
            see `RoundTrip.psnr`.
        progress: called with the numbers of pictures redrawn so far, and in all.
    """
    try:
        examination = examine_dataset(path)
    except CourseError as error:
        return Report(printable(str(path)), findings=(Finding("error", "folder", on_one_line(str(error))),))
    samples = examination.samples
    redrawn = _redrawn(samples, training_size, redraw, progress) if redraw and training_size else {}
    patient = _Patient(examination, training_size, count_tokens, wanted or Filter(), redrawn)
    findings = [replace(finding, text=on_one_line(finding.text)) for finding in patient.findings()]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.verdict))
    return Report(
        folder=printable(str(path)),
        layout=examination.listing.layout,
        rows=len(examination.results),
        pictures=len(samples),
        sizes=_count_sizes(patient.sizes),
        aspect_ratios=Spread.of([round(width / height, 3) for width, height in patient.sizes]),
        buckets=_count_sizes(patient.buckets),
        caption_lengths=Spread.of([len(sample.text) for sample in samples]),
        caption_tokens=Spread.of(patient.tokens),
        distinct_captions=len({sample.text for sample in samples}),
        chinese_captions=sum(_is_chinese(sample.text) for sample in samples),
        psnr={patient.name(sample): round(psnr, 1) for sample, psnr in redrawn.items()},
        findings=tuple(findings),
        samples={patient.name(sample): sample for sample in samples},
    )


@dataclass(frozen=True)
class _Patient:
    """One dataset and what it is to be used for; `findings` looks at everything in turn."""

    examination: Examination
    training_size: tuple[int, int] | None
    count_tokens: Callable[[str], int] | None
    wanted: Filter
    redrawn: dict[Sample, float]

    @property
    def samples(self) -> tuple[Sample, ...]:
        return self.examination.samples

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [sample.size for sample in self.samples]

    @cached_property
    def tokens(self) -> list[int]:
        return [self.count_tokens(sample.text) for sample in self.samples] if self.count_tokens else []

    @cached_property
    def buckets(self) -> list[tuple[int, int]]:
        """The bucket of each sample."""
        if self.training_size is None:
            return []
        area = math.prod(self.training_size)
        buckets = propose_buckets(self.sizes, area, step_for(area))
        return [assign_bucket(size, buckets) for size in self.sizes]

    @cached_property
    def fingerprints(self) -> list[Fingerprint]:
        return [fingerprint(open_picture(sample.path)) for sample in self.samples]

    def findings(self) -> Iterator[Finding]:
        yield from self._rows()
        listing = self.examination.listing
        yield from (Finding("warning", "layout", note) for note in (*listing.notes, *listing.ignored))
        if not self.samples:
            return
        yield from self._duplicates()
        yield from self._captions()
        yield from self._long_captions()
        yield from self._weights()
        yield from self._small()
        yield from self._cropped()
        yield from self._unwanted()
        yield from self._undrawable()
        yield from self._quirks()
        yield from self._unlisted()

    def _rows(self) -> Iterator[Finding]:
        yield from (Finding("error", "row", problem) for problem in self.examination.problems)
        if not self.examination.problems:
            yield Finding("ok", "row", "every picture can be read and has a caption")

    def _captions(self) -> Iterator[Finding]:
        total = len(self.samples)
        caption, count = Counter(sample.text for sample in self.samples).most_common(1)[0]
        if count == 1:
            yield Finding("ok", "captions", "no caption is used twice")
        elif 2 * count <= total:
            yield Finding("ok", "captions", f"no caption is used by more than {count} of {total} pictures")
        else:
            share = f"all {total}" if count == total else f"{count} of {total}"
            yield self._warning(
                "captions",
                f"{share} pictures have the same caption '{brief(caption, 40)}': nothing tells the style "
                f"from what each picture shows; describe each one",
                [sample for sample in self.samples if sample.text == caption],
            )

    def _long_captions(self) -> Iterator[Finding]:
        if not self.tokens:
            return
        long = {s: n for s, n in zip(self.samples, self.tokens, strict=True) if n > TEXT_TOKENS}
        if not long:
            yield Finding("ok", "tokens", f"no caption is longer than the {TEXT_TOKENS} tokens that are read")
            return
        first, count = next(iter(long.items()))
        yield self._warning(
            "tokens",
            f"{_captions_are(long)} cut after {TEXT_TOKENS} tokens, the first is of {self._place(first)} ({count} "
            f"tokens); put what matters first, or shorten",
            long,
        )

    def _weights(self) -> Iterator[Finding]:
        weighted = {sample: sample.text for sample in self.samples if looks_weighted(sample.text)}
        if not weighted:
            return
        first, text = next(iter(weighted.items()))
        has = "1 caption has" if len(weighted) == 1 else f"{len(weighted)} captions have"
        yield self._warning(
            "weights",
            f"{has} what a prompt would take for a weight, the first is of {self._place(first)} "
            f"('{brief(text, 40)}'); captions are learned letter by letter, so take weights out",
            weighted,
        )

    def _small(self) -> Iterator[Finding]:
        if self.training_size is None:
            return
        width, height = self.training_size
        small = [sample for sample in self.samples if sample.size[0] < width or sample.size[1] < height]
        if not small:
            yield Finding("ok", "size", f"no picture is smaller than the training size {width}x{height}")
            return
        yield self._warning(
            "size",
            f"{_pictures_are(small)} smaller than the training size {width}x{height} and will be enlarged and "
            f"blurred, the first is {self.name(small[0])} ({small[0].size[0]}x{small[0].size[1]})",
            small,
        )

    def _cropped(self) -> Iterator[Finding]:
        if self.training_size is None:
            return
        shares = {sample: cropped_share(sample.size, self.training_size) for sample in self.samples}
        worst = max(shares, key=shares.__getitem__)
        target = "{}x{}".format(*self.training_size)
        if shares[worst] <= MAX_CROP:
            yield Finding(
                "ok", "crop", f"cropping to {target} cuts off at most {shares[worst]:.0%} of a picture"
            )
            return
        much = [sample for sample in self.samples if shares[sample] > MAX_CROP]
        left = max(cropped_share(*pair) for pair in zip(self.sizes, self.buckets, strict=True))
        yield self._warning(
            "crop",
            f"{_pictures_lose(much)} more than {MAX_CROP:.0%} when cropped to {target}, most is cut off "
            f"{self.name(worst)} ({shares[worst]:.0%}); with the buckets above it is at most {left:.0%}",
            much,
        )

    def _unwanted(self) -> Iterator[Finding]:
        if not self.wanted:
            return
        if fault := self.wanted.leaves_nothing(self.sizes):
            yield Finding("error", "filter", fault)
            return
        faults = {sample: fault for sample in self.samples if (fault := self.wanted.fault_of(sample))}
        if not faults:
            yield Finding("ok", "filter", "every picture passes the filter")
            return
        unwanted = list(faults)
        first = unwanted[0]
        if len(unwanted) == len(self.samples):
            told = f"no picture passes the filter, the first is {self.name(first)} ({faults[first]})"
            yield Finding("error", "filter", told)
            return
        yield self._warning(
            "filter",
            f"{_pictures_are(unwanted)} turned away by the filter, the first is {self.name(first)} "
            f"({faults[first]})",
            unwanted,
        )

    def _undrawable(self) -> Iterator[Finding]:
        if not self.redrawn:
            return
        poor = sorted((s for s in self.redrawn if self.redrawn[s] < LEAST_PSNR), key=self.redrawn.__getitem__)
        if not poor:
            yield Finding(
                "ok",
                "vae",
                f"the model's VAE can draw every picture: each comes back at {LEAST_PSNR:g} dB or more",
            )
            return
        worst = ", ".join(f"{self.name(sample)} ({self.redrawn[sample]:.1f})" for sample in poor[:WORST])
        come = "picture comes" if len(self.redrawn) == 1 else "pictures come"
        yield self._warning(
            "vae",
            f"{len(poor)} of {len(self.redrawn)} {come} back from the model's VAE at under {LEAST_PSNR:g} dB, the "
            f"worst are {worst}: colours or shapes are not ones that this model draws, so a LoRA cannot learn them; "
            "change them, or train full Kolors",
            poor,
        )

    def _quirks(self) -> Iterator[Finding]:
        quirks = {sample: storage_quirks(sample.path) for sample in self.samples}
        odd = [sample for sample in self.samples if quirks[sample]]
        if not odd:
            yield Finding("ok", "format", "every picture is stored as other trainers will show it")
            return
        yield self._warning(
            "format",
            f"{_pictures_are(odd)} shown rightly here, but perhaps not by other trainers, the first is "
            f"{self.name(odd[0])} ({', '.join(quirks[odd[0]])})",
            odd,
        )

    def _duplicates(self) -> Iterator[Finding]:
        same = same_pictures(self.fingerprints)
        similar = similar_pictures(self.fingerprints)
        for group in same:
            names = ", ".join(self._place(self.samples[i]) for i in group)
            text = f"the same picture {len(group)} times: {names}; it counts that often in training"
            yield self._warning("copies", text, [self.samples[i] for i in group])
        for group in similar:
            names = ", ".join(self._place(self.samples[i]) for i in group)
            text = f"{len(group)} pictures look alike: {names}; keep one, unless all are meant"
            yield self._warning("lookalikes", text, [self.samples[i] for i in group])
        if not same and not similar:
            yield Finding("ok", "copies", "no two pictures are the same or look alike")

    def _unlisted(self) -> Iterator[Finding]:
        """Only said of a table without bad rows: a bad row may be meant for the picture that looks unlisted."""
        listing = self.examination.listing
        if self.examination.problems or listing.layout not in READERS:
            return
        listed = {sample.path for sample in self.samples}
        unlisted = [file for file in picture_files(listing.folder) if file not in listed]
        if not unlisted:
            yield Finding("ok", "unlisted", "no picture lies in the folder without being listed")
            return
        first = unlisted[0].relative_to(listing.folder)
        yield Finding(
            "warning",
            "unlisted",
            f"{_pictures_are(unlisted)} not listed in {listing.source}, the first is {first}",
        )

    def _warning(self, topic: str, text: str, samples: Sequence[Sample] | dict) -> Finding:
        return Finding("warning", topic, text, tuple(self.name(sample) for sample in samples))

    def name(self, sample: Sample) -> str:
        """The picture's file name, relative to the dataset's folder."""
        return printable(sample.path.relative_to(self.examination.listing.folder).as_posix())

    def _place(self, sample: Sample) -> str:
        return f"{self.name(sample)} (line {sample.line})" if sample.line else self.name(sample)


def _redrawn(
    samples: Sequence[Sample],
    size: tuple[int, int],
    redraw: Callable[[Sequence[Image.Image]], list[float]],
    progress: Callable[[int, int], None] | None,
) -> dict[Sample, float]:
    """What `redraw` says of each picture, of which few are in memory at a time."""
    values: list[float] = []
    together = max(1, TOGETHER // math.prod(size))
    for start in range(0, len(samples), together):
        batch = samples[start : start + together]
        values += redraw([cover_picture(open_picture(sample.path), *size) for sample in batch])
        if progress:
            progress(len(values), len(samples))
    return dict(zip(samples, values, strict=True))


def _count_sizes(sizes: Sequence[tuple[int, int]]) -> dict[str, int]:
    return dict(Counter("{}x{}".format(*size) for size in sizes).most_common())


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def _pictures_are(things: Sequence) -> str:
    return "1 picture is" if len(things) == 1 else f"{len(things)} pictures are"


def _pictures_lose(things: Sequence) -> str:
    return "1 picture loses" if len(things) == 1 else f"{len(things)} pictures lose"


def _captions_are(things: dict) -> str:
    return "1 caption is" if len(things) == 1 else f"{len(things)} captions are"
