"""How right captions are, fact by fact: told rightly, told wrongly (a hallucination), or not told (an omission).

CHAIR (arXiv 1809.02156) counts objects that a caption names and a picture does not show; here every fact is known,
so every fact is counted. BLEU and its kin would count words, and "a small rabbit" is as many words from "a big
rabbit" as from "a little rabbit".
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kolors_course.art.parsing import Told, parse_caption, true_facts
from kolors_course.art.scene import Scene
from kolors_course.evaluation.intervals import Interval, wilson

FACTS = ("subject", "place", "time", "size", "position", "count")


@dataclass(frozen=True)
class FactCount:
    """Of one kind of fact: how many were to be told, and what became of them."""

    right: int = 0
    wrong: int = 0
    omitted: int = 0

    @property
    def total(self) -> int:
        return self.right + self.wrong + self.omitted

    @property
    def share(self) -> Interval:
        """The share that was told rightly, with its Wilson interval; there must be one to tell."""
        return wilson(self.right, self.total)


@dataclass(frozen=True)
class CaptionScores:
    """What became of the facts of many pictures.

    Attributes:
        facts: by kind, only kinds that occurred.
        captions, unreadable: how many there were, and how many are no caption in the world's grammar: all their facts
            count as omitted.
        perfect: captions with nothing wrong and nothing left out.
        characters: mean length of a caption.
    """

    facts: dict[str, FactCount]
    captions: int
    unreadable: int
    perfect: int
    characters: float

    @property
    def all_facts(self) -> FactCount:
        counts = self.facts.values()
        return FactCount(
            sum(c.right for c in counts), sum(c.wrong for c in counts), sum(c.omitted for c in counts)
        )

    @property
    def omission_rate(self) -> float:
        """Facts that were left out, of those that were to be told."""
        return self.all_facts.omitted / self.all_facts.total

    @property
    def hallucination_rate(self) -> float:
        """Facts that were told wrongly, of those that were told."""
        told = self.all_facts.right + self.all_facts.wrong
        return self.all_facts.wrong / told if told else 0.0

    def to_dict(self) -> dict:
        """As JSON can hold it, with intervals."""

        def row(count: FactCount) -> dict:
            share = count.share
            return {
                "right": count.right,
                "wrong": count.wrong,
                "omitted": count.omitted,
                "share": round(share.value, 4),
                "low": round(share.low, 4),
                "high": round(share.high, 4),
            }

        return {
            "captions": self.captions,
            "unreadable": self.unreadable,
            "all_facts_right": row(FactCount(self.perfect, self.captions - self.perfect)),
            "facts": {kind: row(count) for kind, count in self.facts.items()},
            "overall": row(self.all_facts),
            "omission_rate": round(self.omission_rate, 4),
            "hallucination_rate": round(self.hallucination_rate, 4),
            "characters": round(self.characters, 2),
        }


def score_captions(
    scenes: Sequence[Scene], captions: Sequence[str], tasks: Sequence[tuple[str, str]]
) -> CaptionScores:
    """Hold captions against the scenes they are of.

    Args:
        tasks: (language, length) of each caption.

    Raises:
        CourseError: unknown language or length.
        ValueError: not as many of each, or none at all.
    """
    tallies: dict[str, Counter[str]] = {}
    unreadable = perfect = 0
    for scene, text, (language, length) in zip(scenes, captions, tasks, strict=True):
        told = parse_caption(text, language, length)
        unreadable += told is None
        verdicts = judge_caption(true_facts(scene), told)
        perfect += all(verdict == "right" for _, verdict in verdicts)
        for kind, verdict in verdicts:
            tallies.setdefault(kind, Counter())[verdict] += 1
    if not captions:
        raise ValueError("there is no caption to judge")
    facts = {kind: FactCount(**tallies[kind]) for kind in FACTS if kind in tallies}
    length_of_all = sum(map(len, captions))
    return CaptionScores(facts, len(captions), unreadable, perfect, length_of_all / len(captions))


def judge_caption(truth: Told, told: Told | None) -> list[tuple[str, str]]:
    """(kind, "right", "wrong" or "omitted") of each fact of a picture.

    Each subject is a fact; of a pair the left one must be told first. Size and side are facts of single subjects,
    time is one everywhere but in space. A subject too many makes the count wrong.
    """
    kinds = ["subject"] * len(truth.subjects) + ["place", "count"]
    kinds += ["time"] if truth.place != "space" else []
    kinds += ["size", "position"] if len(truth.subjects) == 1 else []
    if told is None:
        return [(kind, "omitted") for kind in kinds]
    verdicts = []
    for i, name in enumerate(truth.subjects):
        said = told.subjects[i] if i < len(told.subjects) else None
        verdicts.append(("subject", "omitted" if said is None else _verdict(said == name)))
    verdicts.append(("count", _verdict(len(told.subjects) == len(truth.subjects))))
    for kind in kinds:
        if kind in ("place", "time", "size", "position"):
            verdicts.append((kind, _fact_verdict(kind, truth, told)))
    return verdicts


def _fact_verdict(kind: str, truth: Told, told: Told) -> str:
    """A time is left out of what is told to be in space, and size and side of what is told to be a pair."""
    if kind in ("size", "position") and len(told.subjects) != 1:
        return "omitted"
    if kind == "time" and told.place == "space":
        return "omitted"
    return _verdict(getattr(told, kind) == getattr(truth, kind))


def _verdict(right: bool) -> str:
    return "right" if right else "wrong"
