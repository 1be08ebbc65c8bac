"""The seven styles: each is recognised by its colours alone, in every scene."""

import numpy as np
import pytest

from kolors_course.art import BASE_STYLE, STYLE_ZH, STYLES, random_scene, render
from kolors_course.art.styles import PICO8, _lab

PALETTE = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in PICO8.split()])
SCENES = 12


def distance_from_mixes(pixels: np.ndarray, first: str, second: str) -> np.ndarray:
    """How far each pixel (N, 3) lies from the straight line of mixes between two colours, in 0..255."""
    start, end = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)], float) for c in (first, second))
    along = ((pixels - start) @ (end - start) / ((end - start) @ (end - start))).clip(0, 1)
    return np.abs(pixels - (start + along[:, None] * (end - start))).max(1)


def is_line_art(p: np.ndarray) -> bool:
    return np.ptp(p, axis=1).max() == 0  # nothing but greys


def is_paper_cut(p: np.ndarray) -> bool:
    return distance_from_mixes(p, "#fdf3e0", "#c81420").max() < 3


def is_blueprint(p: np.ndarray) -> bool:
    # The grid lines lie a little beside the mixes of paper and ink.
    return distance_from_mixes(p, "#12449a", "#eaf4ff").max() < 12


def is_ink(p: np.ndarray) -> bool:
    # Paper and ink are warm greys; only the red seal has a strong colour.
    vivid = np.ptp(p, axis=1) > 60
    red = (p[:, 0] > 120) & (p[:, 1] < 150) & (p[:, 2] < 140)
    return 0.002 < vivid.mean() < 0.05 and bool(red[vivid].all())


def is_neon(p: np.ndarray) -> bool:
    # A good part of every picture is the unlit dark.
    return (np.abs(p - [8, 0, 18]).max(1) < 12).mean() > 0.1


def is_pixel(p: np.ndarray) -> bool:
    return all((colour == PALETTE).all(1).any() for colour in np.unique(p, axis=0))


def is_woodcut(p: np.ndarray) -> bool:
    return distance_from_mixes(p, "#dcdcd6", "#101010").max() < 3


RECOGNISE = {
    "line-art": is_line_art,
    "paper-cut": is_paper_cut,
    "blueprint": is_blueprint,
    "ink": is_ink,
    "neon": is_neon,
    "pixel": is_pixel,
    "woodcut": is_woodcut,
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("px", [64, 128])
def test_colours_alone_tell_the_style(style, px):
    rng = np.random.default_rng(1)
    for _ in range(SCENES):
        scene = random_scene(rng)
        pixels = np.asarray(render(scene, px, style), dtype=float).reshape(-1, 3)
        found = [name for name, recognise in RECOGNISE.items() if recognise(pixels)]
        assert found == ([] if style == BASE_STYLE else [style]), scene


def test_every_style_has_a_chinese_name():
    assert tuple(STYLE_ZH) == STYLES == (BASE_STYLE, *RECOGNISE)
    assert len(set(STYLE_ZH.values())) == len(STYLES)


def test_the_seal_is_in_the_corner():
    picture = np.asarray(render(random_scene(np.random.default_rng(2)), 128, "ink"), dtype=int)
    y, x = np.nonzero((picture[..., 0] - picture[..., 1]) > 100)
    assert min(x.min(), y.min()) >= 128 - 5 - 13 - 1
    assert max(x.max(), y.max()) <= 128 - 5


def test_pixel_art_has_square_cells():
    scene = random_scene(np.random.default_rng(3))
    for px, cells in ((64, 32), (96, 48)):
        picture = np.asarray(render(scene, px, "pixel"))
        assert (picture == picture[::2, ::2].repeat(2, 0).repeat(2, 1)).all()
        assert px == 2 * cells


def test_lab_of_known_colours():
    # CIE 15 values of white, black and the sRGB primary red, to the rounding of the matrix.
    lab = _lab(np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]))
    np.testing.assert_allclose(lab, [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.05)
