"""The files that `kolors-course sweep` leaves, and what it says of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kolors_course.cli.reports import write_json
from kolors_course.files import atomic_path
from kolors_course.sweep import (
    Kept,
    Measured,
    Recommendation,
    Sweep,
    contenders_of,
    recommend,
    sweep_report,
    sweep_table,
)
from kolors_course.sweep.draw import MOSAIC
from kolors_course.viz import sweep_sheet


def write_sheet(folder: Path, sweep: Sweep, kept: Sequence[Kept], report: dict[str, Any]) -> list[str]:
    """Write sheet.png, sweep.md and sweep.json.

    Args:
        report: what is known besides; all that was measured is put into it.

    Returns:
        What to print.
    """
    measured = _measured(kept)
    report |= sweep_report(sweep, measured)
    table = sweep_table(sweep, measured)
    sheet = sweep_sheet(
        sweep.axes, [each.shown for each in kept], _title(kept, report), _settings(sweep, report)
    )
    with atomic_path(folder / "sheet.png") as path:
        sheet.save(path)
    _write(folder, "sweep", table, report)
    return [*table, f"wrote {folder}/sheet.png, sweep.md and sweep.json"]


def write_recommendation(
    folder: Path, sweep: Sweep, kept: Sequence[Kept], report: dict[str, Any]
) -> list[str]:
    """Write recommendation.md and recommendation.json; see `write_sheet`.

    Raises:
        CourseError: see `recommend`.
    """
    measured = _measured(kept)
    choice = recommend(contenders_of(measured))
    report |= sweep_report(sweep, measured)
    for row, shortfall in zip(report["cells"], choice.shortfalls, strict=True):
        row["shortfall"] = None if shortfall == float("inf") else round(shortfall, 3)
    report["recommended"] = report["cells"][choice.chosen] | {"limit": round(choice.limit, 3)}
    sentence, table = _sentence(sweep, measured, choice), sweep_table(sweep, measured, choice)
    made = {"command": report["command"], **report["made_by"]}
    _write(
        folder,
        "recommendation",
        [sentence, "", *table, "", *(f"- {k}: {v}" for k, v in made.items())],
        report,
    )
    return [*table, sentence, f"wrote {folder}/recommendation.md and recommendation.json"]


def _measured(kept: Sequence[Kept]) -> list[Measured]:
    return [each.measured for each in kept]


def _title(kept: Sequence[Kept], report: dict[str, Any]) -> str:
    if "prompt" in report:
        return report["prompt"]
    shown = "four of them shown" if kept[0].measured.pictures > MOSAIC[-1] else "one picture shown"
    return f"{report['scenes']} held-out scenes in English and Chinese, {shown}"


def _settings(sweep: Sweep, report: dict[str, Any]) -> str:
    """What no axis changes, in a line."""
    changed, sampling = {axis.name for axis in sweep.axes}, sweep.fixed.sampling
    given = {"steps": sampling.steps, "guidance": f"{sampling.guidance_scale:g}"}
    given |= {"sampler": sampling.sampler, "spacing": sampling.spacing, "seed": report.get("seed")}
    words = [f"{name} {value}" for name, value in given.items() if name not in changed and value is not None]
    loras = [
        f"{path.stem} × {strength:g}" for path, strength in sweep.fixed.loras if "strength" not in changed
    ]
    return " · ".join([report["model"], *words, *loras])


def _sentence(sweep: Sweep, measured: Sequence[Measured], choice: Recommendation) -> str:
    named, calls = sweep.named(sweep.cells[choice.chosen]), measured[choice.chosen].calls
    good = f"{len(choice.good_enough)} of {len(measured)} rows are not worse than the best"
    if choice.limit > 1:
        good = f"no row is good in everything, and this one falls short by {choice.limit:.2f} intervals"
    return f"recommended: {named} ({calls:g} network calls a picture); {good}"


def _write(folder: Path, name: str, lines: Sequence[str], report: dict[str, Any]) -> None:
    write_json(folder / f"{name}.json", report)
    with atomic_path(folder / f"{name}.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
