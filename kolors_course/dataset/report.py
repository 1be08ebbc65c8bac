"""What the dataset doctor found, for people and for JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Literal

from kolors_course.dataset.reader import Sample

Severity = Literal["ok", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("ok", "warning", "error")


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
class Finding:
    """One thing that was looked into.

    Attributes:
        verdict: "error" makes `read_dataset` refuse the folder; with "warning" it can be trained on, but badly.
        topic: one word for what was looked into.
        text: one line.
        pictures: the files it is about, relative to the dataset's folder; empty if it is about all or none.
    """

    verdict: Severity
    topic: str
    text: str
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What `check_dataset` found; counts and spreads are those of the good rows.

    Attributes:
        folder: the folder that was checked, as given.
        layout: how it says what is in it, see `layouts.Listing`; "" if that could not be found out.
        rows: pictures it speaks of, good and bad.
        pictures: good rows.
        sizes: "WIDTHxHEIGHT" in pixels → how many pictures, commonest first.
        aspect_ratios: width / height, to three decimals.
        buckets: sizes for training without much cropping, as `sizes`; empty if no training size was given.
        caption_lengths: characters in a caption.
        caption_tokens: tokens in a caption, without the prefix; None if no tokenizer was given.
        distinct_captions: how many different captions there are.
        chinese_captions: how many captions hold Chinese characters.
        psnr: in dB, how like each picture is to itself once a model's VAE has drawn it; empty if that was not tried.
        findings: the worst last.
        samples: the good rows by file name, relative to the dataset's folder; not part of `to_dict`.
    """

    folder: str
    layout: str = ""
    rows: int = 0
    pictures: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    aspect_ratios: Spread | None = None
    buckets: dict[str, int] = field(default_factory=dict)
    caption_lengths: Spread | None = None
    caption_tokens: Spread | None = None
    distinct_captions: int = 0
    chinese_captions: int = 0
    psnr: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    samples: dict[str, Sample] = field(default_factory=dict)

    @property
    def problems(self) -> tuple[str, ...]:
        """What makes `read_dataset` refuse the folder, one line each."""
        return self._texts("error")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What can be trained on, but badly, one line each."""
        return self._texts("warning")

    @property
    def ok(self) -> bool:
        """Whether `read_dataset` accepts the folder."""
        return not self.problems

    def _texts(self, verdict: Severity) -> tuple[str, ...]:
        return tuple(finding.text for finding in self.findings if finding.verdict == verdict)

    def to_dict(self) -> dict:
        """The report as numbers, texts, lists and mappings, as JSON can hold them."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("samples", "findings")}
        spreads = {name: asdict(fact) for name, fact in facts.items() if isinstance(fact, Spread)}
        findings = [asdict(finding) for finding in self.findings]
        return {"ok": self.ok, **facts, **spreads, "findings": findings}

    def lines(self) -> list[str]:
        """The report as lines of text for a person."""
        layout = f" ({self.layout})" if self.layout else ""
        lines = [f"dataset: {self.folder}{layout}", f"rows: {self.rows}, of which good: {self.pictures}"]
        if self.pictures:
            lines += self._statistics()
        lines += [f"{finding.verdict}: {finding.text}" for finding in self.findings]
        counts = [f"{len(self._texts(verdict))} {verdict}" for verdict in SEVERITIES]
        advice = "ready to train on" if self.ok else "mend the errors before training"
        return [*lines, f"result: {advice} ({', '.join(counts)})"]

    def _statistics(self) -> list[str]:
        lines = [
            f"sizes (pictures): {_counts(self.sizes)}",
            f"width / height: {self.aspect_ratios}",
            f"caption characters: {self.caption_lengths}",
        ]
        if self.caption_tokens:
            lines.append(f"caption tokens: {self.caption_tokens}")
        lines.append(f"distinct captions: {self.distinct_captions}, in Chinese: {self.chinese_captions}")
        if self.buckets:
            lines.append(f"buckets (pictures): {_counts(self.buckets)}")
        if self.psnr:
            lines.append(f"through the VAE and back (dB): {Spread.of(list(self.psnr.values()))}")
        return lines


def _counts(counts: dict[str, int], most: int = 12) -> str:
    """ "64x64 (48), 80x48 (2)", cut after `most`."""
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:most]]
    left = len(counts) - most
    return ", ".join(shown) + (f" and {left} more" if left > 0 else "")
