"""The one drawn chart of the page, as SVG that takes its colours from the page."""

from collections.abc import Sequence

from markupsafe import Markup

from kolors_course.evaluation import Interval
from kolors_course.report.strengths import AtStrength

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 12, 40
LINES = (("style", "a"), ("subject", "b"), ("content", "c"))  # measure, class of its colour


def strength_chart(found: Sequence[AtStrength]) -> Markup:
    """Shares over the strength, each with its 95 % interval; nothing for fewer than two strengths."""
    if len(found) < 2:
        return Markup("")
    low, high = found[0].strength, found[-1].strength
    across = [LEFT + (WIDTH - LEFT - RIGHT) * (each.strength - low) / ((high - low) or 1) for each in found]
    parts = [_grid(across, found)]
    for nudge, (name, colour) in zip((-3, 0, 3), LINES, strict=True):
        shares: list[Interval] = [getattr(each, name) for each in found]
        places = [x + nudge for x in across]
        line = " ".join(f"{x:.1f},{_y(share.value):.1f}" for x, share in zip(places, shares, strict=True))
        parts.append(f'<polyline class="line {colour}" points="{line}"/>')
        for x, share in zip(places, shares, strict=True):
            low_y, y, high_y = (_y(end) for end in (share.low, share.value, share.high))
            parts += [
                f'<line class="arm {colour}" x1="{x:.1f}" x2="{x:.1f}" y1="{low_y:.1f}" y2="{high_y:.1f}"/>',
                f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
            ]
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="shares over strength">{"".join(parts)}</svg>'
    )


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def _grid(across: Sequence[float], found: Sequence[AtStrength]) -> str:
    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(share):.1f}" y2="{_y(share):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{_y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    lines += [
        f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{each.strength:g}</text>'
        for x, each in zip(across, found, strict=True)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">强度 strength</text>')
    return "".join(lines)
