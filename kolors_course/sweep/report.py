"""A sweep as a Markdown table and as plain data."""

from collections.abc import Sequence
from typing import Any

from kolors_course.evaluation.intervals import Interval
from kolors_course.evaluation.score import QUESTIONS
from kolors_course.sweep.cells import Cell, Sweep
from kolors_course.sweep.measure import Measured
from kolors_course.sweep.recommend import FIDELITY, Recommendation, quantities_of

MARK = "**"


def sweep_table(sweep: Sweep, cells: Sequence[Measured], choice: Recommendation | None = None) -> list[str]:
    """A Markdown table with a row for each cell.

    Shares are in per cent, with the ends of their 95 % interval; of a single picture they are yes or no.

    Args:
        choice: what was recommended; its row stands first and in bold, the others follow in their ranking, and a
            column says how far each stays behind.
    """
    names = _columns(cells)
    heads = [*(axis.heading.replace("|", "\\|") for axis in sweep.axes), "network calls", "seconds", *names]
    if any(measured.variety is not None for measured in cells):
        heads.append("variety")
    if choice:
        heads.append("shortfall")
    if any(cell.note for cell in sweep.cells):
        heads.append("note")
    lines = [
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(sweep.axes) + "---:|" * (len(heads) - len(sweep.axes)),
    ]
    for i in choice.ranking if choice else range(len(cells)):
        cell, measured = sweep.cells[i], cells[i]
        words = [
            axis.label(value).replace("|", "\\|") for axis, value in zip(sweep.axes, cell.values, strict=True)
        ]
        words += [f"{measured.calls:g}", f"{measured.seconds:.2f}"]
        quantities = quantities_of(measured)
        words += [_shown(quantities.get(name), name) for name in names]
        if "variety" in heads:
            words.append("–" if measured.variety is None else f"{measured.variety:.2f}")
        if choice:
            words.append(f"{choice.shortfalls[i]:.2f}")
        if "note" in heads:
            words.append(cell.note)
        bold = MARK if choice and i == choice.chosen else ""
        lines.append("| " + " | ".join(f"{bold}{word}{bold}" if word else "" for word in words) + " |")
    return lines


def sweep_report(sweep: Sweep, cells: Sequence[Measured]) -> dict[str, Any]:
    """All that was measured, as JSON can hold it."""
    fixed = sweep.fixed
    return {
        "axes": [{"name": axis.name, "values": list(axis.values)} for axis in sweep.axes],
        "style": fixed.style,
        "pictures_of_a_cell": len(fixed.wanted),
        "variety_prompts": fixed.varied,
        "cells": [_facts(sweep, cell, measured) for cell, measured in zip(sweep.cells, cells, strict=True)],
    }


def _facts(sweep: Sweep, cell: Cell, measured: Measured) -> dict[str, Any]:
    sampling = cell.sampling
    return {
        "values": list(cell.values),
        "steps": sampling.steps,
        "guidance": sampling.guidance_scale,
        "sampler": sampling.sampler,
        "spacing": sampling.spacing,
        **({"note": cell.note} if cell.note else {}),
        "denoise": sampling.denoise,
        "loras": [f"{path}:{strength:g}" for path, strength in cell.loras],
        **({"prompt": cell.wanted[0].prompt, "seed": cell.wanted[0].seed} if len(cell.wanted) == 1 else {}),
        "network_calls": measured.calls,
        "seconds": round(measured.seconds, 3),
        "measured": {
            name: {
                "value": round(q.value, 4),
                "low": round(q.low, 4),
                "high": round(q.high, 4),
                "pictures": q.count,
            }
            for name, q in quantities_of(measured).items()
        },
        "variety": None if measured.variety is None else round(measured.variety, 4),
    }


def _columns(cells: Sequence[Measured]) -> list[str]:
    """The quantities that any cell has, in the order of `evaluate`'s table."""
    known = {name for measured in cells for name in quantities_of(measured)}
    return [name for name in (*QUESTIONS, "style", FIDELITY) if name in known]


def _shown(interval: Interval | None, name: str) -> str:
    if interval is None:
        return "–"
    if name == FIDELITY:
        arm = f" ± {interval.high - interval.value:.3f}" if interval.count > 1 else ""
        return f"{interval.value:.3f}{arm}"
    if interval.count == 1:
        return "yes" if interval.value else "no"
    return f"{interval.value:.1%} ({100 * interval.low:.0f}–{100 * interval.high:.0f})"
