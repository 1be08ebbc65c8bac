"""Seven drawing styles. Each can be rendered for every scene, so a LoRA's result has a ground truth."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, ImageColor, ImageDraw
from scipy import ndimage

from kolors_course.art.choices import BASE_STYLE, STYLES
from kolors_course.art.scene import (
    Layout,
    Scene,
    backdrop_image,
    draw_shapes,
    lay_out,
    paste_line_drawing,
    render_colour,
)
from kolors_course.errors import CourseError

LUMA = np.array([0.299, 0.587, 0.114])
PICO8 = (
    "000000 1d2b53 7e2553 008751 ab5236 5f574f c2c3c7 fff1e8 "
    "ff004d ffa300 ffec27 00e436 29adff 83769c ff77a8 ffccaa"
)


@dataclass(frozen=True)
class Line:
    """A line look: which drawings, which paper and ink, how wide the strokes (in 1/128 of the side)."""

    pack: str
    paper: str
    ink: str
    width: float
    enlarge: float = 1.2


LINES = {
    "line-art": Line("line400", "#ffffff", "#000000", 1.6),
    "paper-cut": Line("bold", "#fdf3e0", "#c81420", 2.2, enlarge=1.25),
    "woodcut": Line("bold", "#dcdcd6", "#101010", 1.8),
    "blueprint": Line("line300", "#12449a", "#eaf4ff", 1.4),
    "neon": Line("line300", "#07000f", "#ffffff", 1.5),
    "ink": Line("line400", "#f4eddc", "#2a2622", 1.0),
}
PIXEL_ENLARGE = 1.25


def render_line(layout: Layout, look: Line, px: int) -> Image.Image:
    """Paper-coloured shapes with ink outlines; specks halved in number, the sky left as bare paper."""
    shapes, specks = [f'<rect x="-1" y="-1" width="130" height="130" fill="{look.paper}"/>'], 0
    # Below 1.5 px a stroke turns grey: small pictures get relatively wider lines.
    width = max(look.width, 128 / px * 0.75 * look.width)
    for e in layout.backdrop.elements:
        if e.role == "sky":
            continue
        if e.role in ("star", "detail"):
            specks += 1
            paint = f'fill="{look.ink}"' if specks % 2 else None
        elif e.role == "line":
            paint = f'fill="none" stroke="{look.ink}" stroke-width="{0.7 * width:.2f}" stroke-linecap="round"'
        else:
            paint = (
                f'fill="{look.paper}" stroke="{look.ink}" stroke-width="{width:.2f}" stroke-linejoin="round"'
            )
        if e.role == "window" and "url(#sky)" not in e.colour:
            paint = f'fill="{look.ink}"'
        if paint:
            shapes.append(e.shape.format(paint=paint))
    canvas = draw_shapes(shapes, px)
    for placement in layout.placements:
        paste_line_drawing(
            canvas,
            placement,
            look.pack,
            look.enlarge,
            ImageColor.getrgb(look.paper),
            ImageColor.getrgb(look.ink),
        )
    return canvas


def _floats(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255


def _image(array: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8))


def _blur(array: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(array, (sigma, sigma, 0) if array.ndim == 3 else sigma)


def _noise(px: int, cell: float, rng: np.random.Generator) -> np.ndarray:
    """Uniform random grid with the given cell size, linearly interpolated to px x px."""
    n = max(2, int(np.ceil(px / cell)) + 1)
    at = np.linspace(0, n - 1, px)
    return ndimage.map_coordinates(rng.random((n, n)), np.meshgrid(at, at, indexing="ij"), order=1)


def _plain_lines(layout: Layout, px: int, style: str) -> Image.Image:
    return render_line(layout, LINES[style], px)


def _blueprint(layout: Layout, px: int) -> Image.Image:
    picture = _floats(render_line(layout, LINES["blueprint"], px))
    grid = np.zeros((px, px), dtype=bool)
    grid[:: px // 8], grid[:, :: px // 8] = True, True
    dark = picture @ LUMA < 0.35
    lit = grid & dark
    picture[lit] = 0.85 * picture[lit] + 0.12
    return _image(picture)


def _neon(layout: Layout, px: int) -> Image.Image:
    g = _floats(render_line(layout, LINES["neon"], px)) @ LUMA
    y, x = np.mgrid[0:px, 0:px] / px
    hue = np.stack(
        [0.5 + 0.5 * np.sin(6 * y), 0.35 + 0.45 * np.sin(5 * x + 2.2), 0.75 + 0.25 * np.sin(4 * y + 1)], -1
    )
    low = (y > 0.55)[..., None]
    hue = np.where(low, hue * (0.2, 1, 1) * 0.9 + np.array([0, 0.25, 0.25]), hue)
    s = px / 128
    glow = 1.9 * _blur(g, 3.2 * s) + 0.9 * _blur(g, 1.2 * s)
    core = 1.1 * np.clip(g - 0.45, 0, 1)[..., None] * (0.35 + 0.65 * hue)
    return _image(np.array([0.03, 0, 0.07]) + hue * glow[..., None] + core)


def _ink(layout: Layout, px: int) -> Image.Image:
    s, rng = px / 128, np.random.default_rng(layout.scene.seed + 1)
    paper = np.array([244, 237, 220]) / 255
    drawing = _floats(render_line(layout, LINES["ink"], px))
    density = np.clip((paper.mean() - drawing.mean(-1)) / 0.75, 0, 1)
    density = np.clip(_blur(density, 0.7 * s) * 1.15, 0, 1) * (0.75 + 0.5 * _noise(px, 9 * s, rng))
    luma = _floats(backdrop_image(layout.backdrop, px)) @ LUMA
    wash = ndimage.gaussian_gradient_magnitude(luma, 1.5 * s) * s
    wash = np.clip(_blur(wash, 3.2 * s) * 7, 0, 0.42)
    v = 1 - np.clip(0.85 * density + wash * (0.7 + 0.6 * _noise(px, 14 * s, rng)), 0, 0.95)
    picture = _image(paper * v[..., None] * (0.97 + 0.03 * _noise(px, 2, rng))[..., None])
    _seal(picture, s)
    return picture


def _seal(picture: Image.Image, s: float) -> None:
    """A red seal in the lower right corner."""
    px, draw = picture.width, ImageDraw.Draw(picture)
    side, margin, paper = 13 * s, 5 * s, (244, 237, 220)
    x, y = px - margin - side, px - margin - side
    draw.rectangle((x, y, x + side, y + side), fill=(188, 38, 32))
    width = max(1, round(1.4 * s))
    for i in range(3):
        row = y + (3 + 3.6 * i) * s
        draw.line((x + 2 * s, row, x + side - 2 * s, row), fill=paper, width=width)
    draw.line((x + side / 2, y + 2 * s, x + side / 2, y + side - 2 * s), fill=paper, width=width)


def _lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 -> CIE L*a*b* (D65 white)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    t = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def _pixel(layout: Layout, px: int) -> Image.Image:
    n = 32 if px <= 64 else 48
    # The picture is drawn large first, so that the box filter averages whole cells.
    small = render_colour(layout, n * 4, PIXEL_ENLARGE).resize((n, n), Image.Resampling.BOX)
    contrast = np.clip((_floats(small) - 0.5) * 1.12 + 0.5, 0, 1)
    palette = np.array([ImageColor.getrgb("#" + code) for code in PICO8.split()])
    distance = ((_lab(contrast)[:, :, None] - _lab(palette / 255)) ** 2).sum(-1)
    return Image.fromarray(palette[distance.argmin(-1)].astype(np.uint8)).resize(
        (px, px), Image.Resampling.NEAREST
    )


_RENDER: dict[str, Callable[[Layout, int], Image.Image]] = {
    BASE_STYLE: render_colour,
    "line-art": partial(_plain_lines, style="line-art"),
    "paper-cut": partial(_plain_lines, style="paper-cut"),
    "blueprint": _blueprint,
    "ink": _ink,
    "neon": _neon,
    "pixel": _pixel,
    "woodcut": partial(_plain_lines, style="woodcut"),
}


def render(scene: Scene, px: int = 128, style: str = BASE_STYLE) -> Image.Image:
    """Draw a scene, RGB px x px; the same scene and style always give the same picture.

    Raises:
        CourseError: unknown style.
    """
    if style not in _RENDER:
        raise CourseError(f"unknown style '{style}'; known styles: {', '.join(STYLES)}")
    return _RENDER[style](lay_out(scene), px)
