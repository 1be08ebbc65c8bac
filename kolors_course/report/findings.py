"""What is found in the pictures of one model or LoRA: facts and shape fidelity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from PIL import Image

from kolors_course.evaluation import (
    HeldOutPrompt,
    Interval,
    McNemar,
    Probe,
    Verdict,
    agreement,
    look,
    mcnemar,
    mean_interval,
    measure_fidelity,
    wilson,
)
from kolors_course.evaluation.score import QUESTIONS
from kolors_course.kolors.model import KolorsModel

ALL_FACTS = "all facts"
FACTS = (*QUESTIONS, "style", ALL_FACTS)


@dataclass(frozen=True)
class Findings:
    """Pictures of held-out prompts and what was found in them, one of each for every prompt.

    Attributes:
        facts: which facts are right, by name: see `FACTS`. What does not apply to a scene is left out.
        fidelity: shape fidelity; `bound` is what the VAE alone reaches, on the average.
    """

    name: str
    prompts: tuple[HeldOutPrompt, ...]
    pictures: tuple[Image.Image, ...]
    verdicts: tuple[Verdict, ...]
    facts: tuple[Mapping[str, bool], ...]
    fidelity: tuple[float, ...]
    bound: float

    def share(self, fact: str, language: str | None = None) -> Interval | None:
        """How often a fact is right, in all prompts or one language's; None where it is never asked."""
        rows = [i for i, prompt in enumerate(self.prompts) if language in (None, prompt.language)]
        known = [self.facts[i][fact] for i in rows if fact in self.facts[i]]
        return wilson(sum(known), len(known)) if known else None

    @property
    def shape(self) -> Interval:
        """Mean shape fidelity."""
        return mean_interval(self.fidelity)

    def failures(self) -> list[int]:
        """Pictures with a wrong fact: those with the most wrong facts first, then those of the worst shapes."""
        wrong = [i for i, facts in enumerate(self.facts) if not facts[ALL_FACTS]]
        return sorted(
            wrong, key=lambda i: (sum(self.facts[i].values()) - len(self.facts[i]), self.fidelity[i])
        )

    def mistakes(self, i: int) -> list[tuple[str, str, str]]:
        """(fact, what was asked, what the probe sees) of every wrong fact of a picture."""
        scene, verdict = self.prompts[i].scene, self.verdicts[i]
        asked = {"subject": " + ".join(s.en for s in scene.subjects), "count": str(len(scene.subjects))}
        asked |= {name: getattr(scene, name) for name in ("place", "time", "size", "position")}
        asked["style"] = ""
        seen = {"subject": " + ".join(verdict.ranking[: len(scene.subjects)]), "count": str(verdict.count)}
        seen |= {name: getattr(verdict, name) for name in ("place", "time", "size", "position", "style")}
        return [
            (name, asked[name], seen[name])
            for name, right in self.facts[i].items()
            if not right and name != ALL_FACTS
        ]


def facts_of(
    probe: Probe, prompts: Sequence[HeldOutPrompt], pictures: Sequence[Image.Image], style: str
) -> tuple[tuple[Verdict, ...], tuple[dict[str, bool], ...]]:
    """What the probe sees in each picture, and which facts are right, `style` and all together among them."""
    verdicts = tuple(look(probe, pictures))
    facts = []
    for prompt, verdict in zip(prompts, verdicts, strict=True):
        right = agreement(prompt.scene, verdict) | {"style": verdict.style == style}
        facts.append(right | {ALL_FACTS: all(right.values())})
    return verdicts, tuple(facts)


def find(
    name: str,
    probe: Probe,
    model: KolorsModel,
    prompts: Sequence[HeldOutPrompt],
    pictures: Sequence[Image.Image],
    style: str,
) -> Findings:
    """Look at the pictures of all prompts.

    Args:
        model: only its VAE is used.

    Raises:
        CourseError: see `measure_fidelity`.
    """
    verdicts, facts = facts_of(probe, prompts, pictures, style)
    fidelity = measure_fidelity(model, prompts, pictures, style)
    return Findings(
        name,
        tuple(prompts),
        tuple(pictures),
        verdicts,
        facts,
        tuple(likeness.value for likeness in fidelity.drawn),
        fmean(likeness.value for likeness in fidelity.vae),
    )


def compare_facts(one: Findings, two: Findings) -> dict[str, McNemar]:
    """McNemar's test of every fact, on the same prompts and noise."""
    found = {}
    for fact in FACTS:
        pairs = [(a[fact], b[fact]) for a, b in zip(one.facts, two.facts, strict=True) if fact in a]
        if pairs:
            found[fact] = mcnemar(*zip(*pairs, strict=True))
    return found
