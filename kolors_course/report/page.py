"""The page itself: findings into HTML that needs nothing else.

Jinja escapes every value unless it is `Markup`, and the only Markup made here are data URIs and numbers: names of
files, prompts and what programs say of themselves cannot become part of the page.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from kolors_course.evaluation import Copies, McNemar, wilson
from kolors_course.evaluation.copies import RARE
from kolors_course.report.charts import strength_chart
from kolors_course.report.findings import FACTS, Findings
from kolors_course.report.strengths import AtStrength
from kolors_course.report.world import Distances, Memorised, independent_rows

FACTS_ZH = {
    "subject": "主体",
    "place": "地点",
    "time": "时间",
    "size": "大小",
    "position": "位置",
    "count": "数量",
    "style": "风格",
    "all facts": "全部正确",
}
SIDE = 160  # pixels of a picture on the page, at most
FAILURES, SAMPLE, PAIRS, DIFFERENCES = 12, 12, 6, 6


@dataclass(frozen=True)
class ModelReport:
    """All that the page tells.

    Attributes:
        memory: None where no training pictures are known.
        against, against_distances, duel: of what it is compared with, or None.
        made_by: provenance, in the order in which it is shown.
    """

    style: str
    main: Findings
    distances: Distances
    memory: Memorised | None
    strengths: tuple[AtStrength, ...]
    made_by: Mapping[str, str]
    against: Findings | None = None
    against_distances: Distances | None = None
    duel: Mapping[str, McNemar] | None = None

    @property
    def sides(self) -> list[tuple[Findings, Distances]]:
        both = [(self.main, self.distances), (self.against, self.against_distances)]
        return [(found, far) for found, far in both if found is not None and far is not None]


def report_page(report: ModelReport) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "number": _number, "chance": _chance, "picture": picture_uri}
    return environment.get_template("report.html").render(
        report=report,
        rows=_fact_rows(report),
        failures=[
            _failure(report.main, i) for i in _of_other_scenes(report.main, report.main.failures())[:FAILURES]
        ],
        failure_count=len(report.main.failures()),
        sample=[_shown(report.main, i) for i in independent_rows(report.main.prompts)[:SAMPLE]],
        differences=_differences(report),
        nearest=_nearest(report),
        chart=strength_chart(report.strengths),
    )


def picture_uri(picture: Image.Image) -> str:
    """A picture as a data URI: WebP, at most `SIDE` pixels a side."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    small.save(file, "webp", quality=82, method=4)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _of_other_scenes(found: Findings, rows: Sequence[int]) -> list[int]:
    """The first of `rows` of each scene, which two prompts ask for."""
    first: dict[int, int] = {}
    for row in rows:
        first.setdefault(found.prompts[row].seed, row)
    return list(first.values())


def _fact_rows(report: ModelReport) -> list[dict[str, Any]]:
    """Of each fact its share on every side, by language, and McNemar's test; then shape fidelity."""
    rows: list[dict[str, Any]] = []
    for fact in FACTS:
        shares = [found.share(fact) for found, _ in report.sides]
        if shares[0] is None:
            continue
        languages = [report.main.share(fact, language) for language in ("en", "zh")]
        duel = report.duel[fact] if report.duel else None
        rows.append(
            {
                "name": fact,
                "zh": FACTS_ZH[fact],
                "shares": shares,
                "languages": languages,
                "duel": duel,
                "show": _percent,
            }
        )
    shapes = [found.shape for found, _ in report.sides]
    rows.append(
        {
            "name": "shape fidelity",
            "zh": "形状",
            "shares": shapes,
            "languages": [None, None],
            "duel": None,
            "show": _fidelity,
        }
    )
    return rows


def _fidelity(value: float) -> str:
    return f"{value:.3f}"


def _shown(found: Findings, i: int) -> dict[str, Any]:
    prompt = found.prompts[i]
    return {
        "picture": found.pictures[i],
        "prompt": prompt.prompt,
        "lang": prompt.language,
        "seed": prompt.seed,
    }


def _failure(found: Findings, i: int) -> dict[str, Any]:
    return _shown(found, i) | {
        "mistakes": [(FACTS_ZH[fact], fact, asked, seen) for fact, asked, seen in found.mistakes(i)]
    }


def _differences(report: ModelReport) -> list[dict[str, Any]]:
    """The first prompts of which one side gets every fact right and the other does not."""
    if report.against is None:
        return []
    one, two = report.main, report.against
    rows = [
        i
        for i, (a, b) in enumerate(zip(one.facts, two.facts, strict=True))
        if a["all facts"] != b["all facts"]
    ]
    return [
        _shown(one, i) | {"other": two.pictures[i], "right": one.facts[i]["all facts"]}
        for i in _of_other_scenes(one, rows)[:DIFFERENCES]
    ]


def _nearest(report: ModelReport) -> list[dict[str, Any]]:
    """By features and by pixels: the made pictures nearest to a training picture, beside it."""
    if report.memory is None:
        return []
    kinds = (
        ("the probe's features", "按探针特征", report.memory.features),
        ("pixels", "按像素", report.memory.pixels),
    )
    return [
        {
            "name": name,
            "zh": zh,
            "copies": copies,
            "usual_share": RARE,
            "share": wilson(len(copies.suspects), len(copies.made.distance)),
            "median": float(copies.made.distance.median()),
            "usual": float(copies.held_out.distance.median()),
            "pairs": _pairs(copies, report.main, report.memory.training),
        }
        for name, zh, copies in kinds
    ]


def _pairs(copies: Copies, found: Findings, training: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """Of one scene asked for in two languages only the nearer picture."""
    nearest_first = copies.made.distance.argsort().tolist()
    return [
        {
            "made": found.pictures[i],
            "training": training[int(copies.made.index[i])],
            "distance": float(copies.made.distance[i]),
            "ratio": float(copies.made.ratio[i]),
        }
        for i in _of_other_scenes(found, nearest_first)[:PAIRS]
    ]
