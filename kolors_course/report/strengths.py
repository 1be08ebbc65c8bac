"""What a LoRA's strength changes: facts and style at several strengths, on the same prompts and noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from kolors_course.evaluation import HeldOutPrompt, Interval, Probe, wilson
from kolors_course.report.findings import ALL_FACTS, facts_of

MULTIPLES = (0, 0.25, 0.5, 0.75, 1, 1.5)  # of the strength that was asked for
SCENES = 20  # that each strength draws, at most


@dataclass(frozen=True)
class AtStrength:
    """What a LoRA does at one strength.

    Attributes:
        content: share of pictures with every fact but the style right.
        shown: the first picture.
    """

    strength: float
    style: Interval
    subject: Interval
    content: Interval
    shown: Image.Image


def at_strength(
    strength: float,
    probe: Probe,
    prompts: Sequence[HeldOutPrompt],
    pictures: Sequence[Image.Image],
    style: str,
) -> AtStrength:
    """Look at the pictures of one strength."""
    _, facts = facts_of(probe, prompts, pictures, style)
    content = [all(v for name, v in row.items() if name not in ("style", ALL_FACTS)) for row in facts]
    shares = [[row["style"] for row in facts], [row["subject"] for row in facts], content]
    style_share, subject_share, content_share = (wilson(sum(rows), len(rows)) for rows in shares)
    return AtStrength(strength, style_share, subject_share, content_share, pictures[0])
