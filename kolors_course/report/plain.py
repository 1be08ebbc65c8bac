"""The report as plain data, for other programs."""

from dataclasses import asdict
from typing import Any

from kolors_course.evaluation import Copies
from kolors_course.report.findings import FACTS, Findings
from kolors_course.report.page import ModelReport
from kolors_course.report.strengths import AtStrength
from kolors_course.report.world import Distances


def plain_report(report: ModelReport) -> dict[str, Any]:
    """All that the page tells but the pictures, ready for JSON."""
    memory = report.memory
    return {
        "style": report.style,
        "sides": [_side(found, far) for found, far in report.sides],
        "mcnemar": {fact: asdict(test) for fact, test in (report.duel or {}).items()},
        "nearest": memory and {"features": _copies(memory.features), "pixels": _copies(memory.pixels)},
        "strengths": [_strength(each) for each in report.strengths],
        "made_by": dict(report.made_by),
    }


def _side(found: Findings, far: Distances) -> dict[str, Any]:
    shares = {
        fact: {name: asdict(share) for name in ("both", "en", "zh") if (share := _share(found, fact, name))}
        for fact in FACTS
    }
    rows = zip(found.prompts, found.facts, found.fidelity, strict=True)
    pictures = [
        {
            "prompt": prompt.prompt,
            "seed": prompt.seed,
            "language": prompt.language,
            "facts": dict(facts),
            "shape fidelity": fidelity,
        }
        for prompt, facts, fidelity in rows
    ]
    return {
        "name": found.name,
        "facts": shares,
        "shape fidelity of the VAE alone": found.bound,
        "distances": asdict(far),
        "pictures": pictures,
    }


def _share(found: Findings, fact: str, name: str) -> Any:
    return found.share(fact, None if name == "both" else name)


def _copies(copies: Copies) -> dict[str, Any]:
    return {
        "threshold": copies.threshold,
        "suspects": list(copies.suspects),
        "index": copies.made.index.tolist(),
        "distance": copies.made.distance.tolist(),
        "ratio": copies.made.ratio.tolist(),
        "held-out distance": copies.held_out.distance.tolist(),
    }


def _strength(each: AtStrength) -> dict[str, Any]:
    shares = {name: asdict(getattr(each, name)) for name in ("style", "subject", "content")}
    return {"strength": each.strength, **shares}
