"""Landscapes: ten places at three times of day, drawn as SVG elements that each know their role.

Because every element carries a role, one generator serves the coloured look and all line-drawn styles.
Coordinates live in a 128 x 128 box, y down.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import ImageColor

PLACES = ("meadow", "snow", "desert", "beach", "sea", "city", "forest", "mountain", "space", "room")
TIMES = ("day", "night", "dusk")
SKYLESS = ("space", "room")  # places that are drawn without a horizon and its light
TIMELESS = "timeless"  # outer space has no time of day

SKY = {"day": ("#5cb8f5", "#dff4ff"), "night": ("#0a1038", "#2b3b7a"), "dusk": ("#6a4a9c", "#ffb070")}
TINT = {"day": ((0, 0, 0), 0.0), "night": ((11, 26, 74), 0.58), "dusk": ((176, 80, 44), 0.28)}
GROUND = {
    "meadow": "#86cf5e",
    "snow": "#f6fbff",
    "desert": "#f0c978",
    "beach": "#f7e2ae",
    "sea": "#3d9be0",
    "city": "#8f959d",
    "forest": "#5d9a4a",
    "mountain": "#9fcf74",
}
ROOM_TINT = 0.35


@dataclass(frozen=True)
class Element:
    """One SVG shape. `shape` is a template with `{paint}` where fill and stroke go.

    Roles: sky, shape, light, window (areas), star, detail (specks), line (strokes).
    """

    role: str
    shape: str
    colour: str
    width: float = 0.0


@dataclass(frozen=True)
class Backdrop:
    """A landscape: its elements from back to front, and the height of its horizon."""

    elements: tuple[Element, ...]
    horizon: float
    defs: str = ""


def tinted(colour: str, time: str, strength: float = 1.0) -> str:
    """Mix a daylight colour with the light of the hour."""
    tint, amount = TINT.get(time, TINT["day"])
    amount *= strength
    mixed = (
        round(c * (1 - amount) + t * amount) for c, t in zip(ImageColor.getrgb(colour), tint, strict=True)
    )
    return "#" + "".join(f"{c:02x}" for c in mixed)


def _polygon(points: list[tuple[float, float]]) -> str:
    return '<polygon points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) + '" {paint}/>'


def _circle(x: float, y: float, r: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.2f}" {{paint}}/>'


def _rect(x: float, y: float, w: float, h: float) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" {{paint}}/>'


def _path(d: str) -> str:
    return f'<path d="{d}" {{paint}}/>'


class _Painter:
    """Collects elements while one landscape is drawn."""

    def __init__(self, time: str, rng: np.random.Generator):
        self.time, self.rng = time, rng
        self.elements: list[Element] = []

    def add(self, role: str, shape: str, colour: str, width: float = 0.0, tint: float = 1.0) -> None:
        lit = role in ("sky", "light", "star", "window") or not colour.startswith("#")
        self.elements.append(Element(role, shape, colour if lit else tinted(colour, self.time, tint), width))

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def hill(self, y: float, amplitude: float, waves: float, colour: str) -> None:
        phase = self.uniform(0, 2 * np.pi)
        points = [(x, y + amplitude * np.sin(phase + waves * np.pi * x / 128)) for x in range(0, 129, 8)]
        self.add(
            "shape",
            _polygon([(-4, 132), (-4, points[0][1]), *points, (132, points[-1][1]), (132, 132)]),
            colour,
        )

    def stars(self, count: int, bottom: float) -> None:
        for _ in range(count):
            spot = _circle(self.uniform(2, 126), self.uniform(2, bottom), self.uniform(0.5, 1.1))
            self.add("star", spot, "#ffffff")

    def cloud(self, x: float, y: float, scale: float) -> None:
        outline = "M0 9 a6 6 0 0 1 3 -11 a8 8 0 0 1 15 -2 a6.5 6.5 0 0 1 6 13 z"
        shape = f'<path transform="translate({x:.1f} {y:.1f}) scale({scale:.2f})" d="{outline}" {{paint}}/>'
        self.add("light", shape, "#ffffff")

    def crescent(self, x: float, y: float, r: float) -> None:
        tip, inner = f"{x:.1f} {y - r:.1f}", 0.8 * r
        outer_arc = f"A{r:.1f} {r:.1f} 0 1 1 {x - r:.1f} {y:.1f}"
        d = f"M{tip} {outer_arc} A{inner:.1f} {inner:.1f} 0 0 0 {tip} z"
        self.add("light", _path(d), "#ffe9a0")


def _sky(p: _Painter, horizon: float) -> None:
    p.add("sky", _rect(-1, -1, 130, 130), "url(#sky)")
    left = p.rng.random() < 0.5
    x = p.uniform(16, 34) if left else p.uniform(94, 112)
    if p.time == "day":
        p.add("light", _circle(x, p.uniform(14, 26), 10), "#ffd43b")
        # Clouds keep to the sides so that none sits behind the head of a subject in the middle.
        p.cloud(p.uniform(86, 98) if left else p.uniform(6, 18), p.uniform(14, 30), p.uniform(0.8, 1.2))
        if p.rng.random() < 0.5:
            p.cloud(p.uniform(40, 62), p.uniform(8, 12), p.uniform(0.6, 0.8))
    elif p.time == "night":
        p.stars(22, horizon - 6)
        p.crescent(x, p.uniform(16, 26), 9)
    else:
        p.add("light", _circle(x, horizon - p.uniform(4, 9), 13), "#ff6b4a")


def _meadow(p: _Painter, y: float) -> None:
    p.hill(y - 4, 5, p.uniform(1.5, 2.5), "#a5dc78")
    p.hill(y, 2, p.uniform(1, 2), GROUND["meadow"])
    for _ in range(8):
        colour = ("#ff8fb3", "#ffe066", "#ffffff")[p.rng.integers(3)]
        p.add("detail", _circle(p.uniform(4, 124), p.uniform(y + 10, 124), 1.5), colour)


def _snow(p: _Painter, y: float) -> None:
    p.hill(y - 4, 4, p.uniform(1.5, 2.5), "#d8e6f3")
    p.hill(y, 2, p.uniform(1, 2), GROUND["snow"])
    for _ in range(24):
        p.add(
            "detail",
            _circle(p.uniform(2, 126), p.uniform(4, y - 4), p.uniform(0.9, 1.5)),
            "#ffffff",
            tint=0.3,
        )


def _desert(p: _Painter, y: float) -> None:
    p.hill(y - 5, 5, p.uniform(1.2, 2), "#e6b765")
    p.hill(y, 2, p.uniform(0.8, 1.6), GROUND["desert"])
    for side in (p.uniform(8, 28), p.uniform(100, 120)):
        h, foot = p.uniform(16, 24), y + p.uniform(4, 10)
        stem = f"M{side:.1f} {foot:.1f} v{-h:.1f}"
        arms = f"M{side:.1f} {foot - 0.4 * h:.1f} h-6 v-6 M{side:.1f} {foot - 0.3 * h:.1f} h6 v-7"
        p.add("line", _path(f"{stem} {arms}"), "#4f8f4a", width=4)


def _beach(p: _Painter, y: float) -> None:
    p.add("shape", _rect(-2, y - 14, 132, 30), "#3fa6e0")
    p.hill(y + 4, 2.5, p.uniform(1, 2), GROUND["beach"])


def _sea(p: _Painter, y: float) -> None:
    p.add("shape", _rect(-2, y, 132, 132 - y), GROUND["sea"])
    for _ in range(9):
        x, top = p.uniform(2, 112), p.uniform(y + 7, 122)
        p.add("line", _path(f"M{x:.1f} {top:.1f} q4 -4 8 0 t8 0"), "#bfe3fb", width=1.6)


def _city(p: _Painter, y: float) -> None:
    x = -3.0
    greys = ("#a9b0ba", "#8d96a3", "#b8a99a", "#9c8f85", "#7f8894")
    while x < 128:
        w, h = p.uniform(14, 24), p.uniform(22, 52)
        p.add("shape", _rect(x, y - h, w, h + 2), greys[p.rng.integers(len(greys))])
        glass = "#ffe27a" if p.time == "night" else tinted("#e8f2fa", p.time)
        for wx in np.arange(x + 3, x + w - 4, 6).tolist():
            for wy in np.arange(y - h + 4, y - 6, 8).tolist():
                if p.rng.random() < 0.8:
                    p.add("window", _rect(wx, wy, 3, 4), glass)
        x += w + p.uniform(0, 2)
    p.add("shape", _rect(-2, y, 132, 132 - y), GROUND["city"])
    p.add("line", f'<path d="M0 {y + 34:.1f} H128" stroke-dasharray="10 8" {{paint}}/>', "#f3f3f3", width=2)


def _forest(p: _Painter, y: float) -> None:
    greens = ("#2f7d4f", "#3b8f5a", "#276b45")
    xs = np.linspace(2, 126, 9) + p.rng.uniform(-5, 5, 9)
    for x in xs:
        h, foot = p.uniform(34, 52), y + 4
        p.add("shape", _polygon([(x - 10, foot), (x, foot - h), (x + 10, foot)]), greens[p.rng.integers(3)])
    p.hill(y, 2, p.uniform(1, 2), GROUND["forest"])


def _mountain(p: _Painter, y: float) -> None:
    for centre in (p.uniform(12, 30), p.uniform(52, 76), p.uniform(98, 116)):
        h, half = p.uniform(30, 46), p.uniform(26, 34)
        p.add("shape", _polygon([(centre - half, y + 4), (centre, y - h), (centre + half, y + 4)]), "#8391ad")
        cap, drop = 0.3 * half, 0.3 * h
        zigzag = [(centre - cap, y - h + drop), (centre, y - h), (centre + cap, y - h + drop)]
        zigzag += [(centre + cap / 3, y - h + 0.7 * drop), (centre - cap / 4, y - h + 1.1 * drop)]
        p.add("shape", _polygon(zigzag), "#ffffff")
    p.hill(y, 2, p.uniform(1, 2), GROUND["mountain"])


def _space(p: _Painter, y: float) -> None:
    p.add("sky", _rect(-1, -1, 130, 130), "url(#sky)")
    p.stars(40, 126)
    x = p.uniform(16, 30) if p.rng.random() < 0.5 else p.uniform(98, 112)
    top, r = p.uniform(16, 26), p.uniform(9, 14)
    p.add("shape", _circle(x, top, r), ("#e9a66b", "#8fd3c4", "#c99ae0")[p.rng.integers(3)])
    ring = (
        f'<ellipse cx="{x:.1f}" cy="{top:.1f}" rx="{1.7 * r:.1f}" ry="{0.45 * r:.1f}" '
        f'transform="rotate(-18 {x:.1f} {top:.1f})" {{paint}}/>'
    )
    p.add("line", ring, "#f3e3c3", width=1.8)


def _room(p: _Painter, y: float) -> None:
    wall = ("#fde7c8", "#dcefe0", "#e3e4fa", "#fbdde3")[p.rng.integers(4)]
    p.add("shape", _rect(-2, -2, 132, y + 4), wall, tint=ROOM_TINT)
    x, top = p.uniform(6, 14) if p.rng.random() < 0.5 else p.uniform(78, 86), p.uniform(8, 16)
    p.add("window", _rect(x, top, 36, 36), "url(#sky)")
    if p.time == "night":
        p.crescent(x + 24, top + 13, 6)
    else:
        glow, height = ("#ffd43b", 11) if p.time == "day" else ("#ff6b4a", 24)
        p.add("light", _circle(x + 24, top + height, 6), glow)
    frame = f"M{x:.1f} {top:.1f} h36 v36 h-36 z M{x + 18:.1f} {top:.1f} v36 M{x:.1f} {top + 18:.1f} h36"
    p.add("line", _path(frame), "#ffffff", width=2.4, tint=ROOM_TINT)
    p.add("shape", _rect(-2, y, 132, 132 - y), "#d8a56a", tint=ROOM_TINT)
    for i in range(1, 4):
        p.add("line", _path(f"M0 {y + 12 * i:.1f} H128"), "#b98650", width=1.2, tint=ROOM_TINT)


_DRAW: dict[str, Callable[[_Painter, float], None]] = {
    "meadow": _meadow,
    "snow": _snow,
    "desert": _desert,
    "beach": _beach,
    "sea": _sea,
    "city": _city,
    "forest": _forest,
    "mountain": _mountain,
    "space": _space,
    "room": _room,
}


def draw_backdrop(place: str, time: str, rng: np.random.Generator) -> Backdrop:
    """Draw `place` at `time`; `rng` varies hills, clouds, houses, the wall's colour and so on."""
    painter = _Painter(time, rng)
    horizon = painter.uniform(78, 88) if place == "room" else painter.uniform(62, 74)
    top, bottom = ("#07071f", "#241a52") if place == "space" else SKY[time]
    if place not in SKYLESS:
        _sky(painter, horizon)
    _DRAW[place](painter, horizon)
    defs = (
        '<defs><linearGradient id="sky" x1="0" y1="0" x2="0" y2="0.75">'
        f'<stop offset="0" stop-color="{top}"/><stop offset="1" stop-color="{bottom}"/>'
        "</linearGradient></defs>"
    )
    return Backdrop(tuple(painter.elements), horizon, defs)
