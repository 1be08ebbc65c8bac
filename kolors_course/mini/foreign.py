"""Pictures that are not of our world: what a learner may bring, for the decoder to learn to draw.

Two sorts: pictures of the world in other colours (`RECOLOURED`), and things that the world has not (`DRAWN`).
Each kind is a function of a random generator, so that fresh ones can be made for a test.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from kolors_course.mini.pictures import PictureStore, in_parallel
from kolors_course.platform.fonts import cjk_font_path

Raster = np.ndarray  # uint8 (H, W, 3)
LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
OVERSAMPLING = 2  # shapes and letters are drawn larger, then made small: smooth edges
MIN_CONTRAST = 60  # least distance, on 0..255 per channel, of two colours that should be told apart


def _colour(rng: np.random.Generator) -> np.ndarray:
    """An RGB colour: hue, saturation and value each uniform, so that dark and pale ones come as often as bright."""
    hsv = np.array([[rng.integers(0, 256, 3)]], np.uint8)
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"), dtype=float)[0, 0]


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    while True:
        first, second = _colour(rng), _colour(rng)
        if np.abs(first - second).mean() >= MIN_CONTRAST:
            return first, second


def _mixed(share: np.ndarray, first: np.ndarray, second: np.ndarray) -> Raster:
    """`first` where `share` (H, W) is 0, `second` where it is 1."""
    share = share[..., None]
    return ((1 - share) * first + share * second).round().astype(np.uint8)


def turned_hue(rng: np.random.Generator, picture: Raster) -> Raster:
    """Every hue turned by one angle, at least 40 degrees."""
    hsv = np.array(Image.fromarray(picture).convert("HSV"))
    hsv[..., 0] += np.uint8(rng.integers(28, 229))  # of 256; it wraps around
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))


def duotone(rng: np.random.Generator, picture: Raster) -> Raster:
    """Brightness only, from one colour to another: chalk on a board, ink on tinted paper."""
    return _mixed(picture @ LUMINANCE / 255, *_two_colours(rng))


def inverted(rng: np.random.Generator, picture: Raster) -> Raster:
    """A photographic negative."""
    return 255 - picture


def other_gamma(rng: np.random.Generator, picture: Raster) -> Raster:
    """Darker or paler middle tones: a gamma from 0.4 to 0.7, or one over that."""
    gamma = rng.uniform(0.4, 0.7) ** rng.choice((-1, 1))
    return (255 * (picture / 255) ** gamma).round().astype(np.uint8)


def permuted_channels(rng: np.random.Generator, picture: Raster) -> Raster:
    """Red, green and blue in another order."""
    orders = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return picture[..., orders[rng.integers(len(orders))]]


def flat_shapes(rng: np.random.Generator, size: int) -> Raster:
    """Two to six discs, boxes and polygons, each in one colour, on a ground of one colour."""
    side = size * OVERSAMPLING
    image = Image.new("RGB", (side, side), tuple(_colour(rng).astype(int)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(2, 7)):
        colour = tuple(_colour(rng).astype(int))
        x, y = rng.uniform(0, side, 2)
        width, height = rng.uniform(0.08, 0.35, 2) * side
        box = (x - width, y - height, x + width, y + height)
        match rng.integers(3):
            case 0:
                draw.ellipse(box, fill=colour)
            case 1:
                draw.rectangle(box, fill=colour)
            case _:
                angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
                draw.polygon([(x + width * np.cos(a), y + height * np.sin(a)) for a in angles], fill=colour)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def _characters(font: str) -> list[str]:
    """Letters, digits and Chinese characters that a font file can draw."""
    return [chr(code) for code in sorted(FT2Font(font).get_charmap()) if chr(code).isalnum()]


@cache
def _letter_fonts() -> list[tuple[str, list[str]]]:
    """The course's Chinese font and matplotlib's own, which are everywhere, with what each can draw."""
    own = [font_manager.findfont(f"DejaVu {family}") for family in ("Sans", "Serif", "Sans Mono")]
    latin = [c for c in map(chr, range(0x21, 0x7F)) if c.isalnum()]
    chinese = str(cjk_font_path())
    return [(chinese, _characters(chinese)), *((font, latin) for font in own)]


def letters(rng: np.random.Generator, size: int) -> Raster:
    """One to four letters, digits or Chinese characters, a third to three quarters of the picture high."""
    side = size * OVERSAMPLING
    ground, first = _two_colours(rng)
    image = Image.new("RGB", (side, side), tuple(ground.astype(int)))
    draw = ImageDraw.Draw(image)
    fonts = _letter_fonts()
    path, characters = fonts[rng.integers(len(fonts))]
    for i in range(rng.integers(1, 5)):
        colour = first if i == 0 else _colour(rng)
        font = ImageFont.truetype(path, int(side * rng.uniform(0.35, 0.75)))
        place = tuple(rng.uniform(0.2, 0.8, 2) * side)
        character = characters[rng.integers(len(characters))]
        draw.text(place, character, tuple(colour.astype(int)), font, anchor="mm")
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def texture(rng: np.random.Generator, size: int) -> Raster:
    """Stripes, checks or dots of 12 to 40 pixels, hard or soft, in two colours."""
    y, x = np.mgrid[:size, :size]
    angle, period = rng.uniform(0, np.pi), rng.uniform(12, 40) * size / 128
    phase = rng.uniform(0, 2 * np.pi, 2)
    along = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase[0])
    across = np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period + phase[1])
    wave = (along, along * across, (along + across) / 2)[rng.integers(3)]
    sharpness = rng.uniform(0.5, 6)
    return _mixed(0.5 + 0.5 * np.tanh(sharpness * wave) / np.tanh(sharpness), *_two_colours(rng))


def gradient(rng: np.random.Generator, size: int) -> Raster:
    """One colour fading into another along a line or around a point, or four corners mixed."""
    y, x = np.mgrid[:size, :size] / (size - 1)
    match rng.integers(3):
        case 0:
            angle = rng.uniform(0, 2 * np.pi)
            share = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
        case 1:
            share = np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 1))
        case _:
            rows = [_mixed(x[:1], *_two_colours(rng)), _mixed(x[:1], *_two_colours(rng))]
            return ((1 - y[..., None]) * rows[0] + y[..., None] * rows[1]).round().astype(np.uint8)
    share = (share - share.min()) / (share.max() - share.min())
    return _mixed(share, *_two_colours(rng))


RECOLOURED: dict[str, Callable[[np.random.Generator, Raster], Raster]] = {
    "turned hue": turned_hue,
    "duotone": duotone,
    "inverted": inverted,
    "other gamma": other_gamma,
    "permuted channels": permuted_channels,
}
DRAWN: dict[str, Callable[[np.random.Generator, int], Raster]] = {
    "flat shapes": flat_shapes,
    "letters": letters,
    "texture": texture,
    "gradient": gradient,
}
FOREIGN_KINDS = (*RECOLOURED, *DRAWN)
# How often each kind is trained on: what is harder to draw, more often.
OFTENNESS = {
    "turned hue": 12,
    "duotone": 3,
    "inverted": 13,
    "other gamma": 5,
    "permuted channels": 12,
    "flat shapes": 2,
    "letters": 3,
    "texture": 3,
    "gradient": 1,
}


def foreign_picture(rng: np.random.Generator, kind: str, world: Raster) -> Raster:
    """A picture of `kind`, as large as `world`, a picture of the world that a recoloured one is made from."""
    if kind in RECOLOURED:
        return RECOLOURED[kind](rng, world)
    return DRAWN[kind](rng, len(world))


def with_foreign(pictures: Tensor, where: Tensor, rng: np.random.Generator) -> Tensor:
    """`pictures` (B, 3, H, W) uint8, with foreign ones where `where` (B,) is true; see `OFTENNESS`."""
    pictures = pictures.clone()
    shares = np.array([OFTENNESS[kind] for kind in FOREIGN_KINDS]) / sum(OFTENNESS.values())
    for i in where.nonzero()[:, 0].tolist():
        kind = FOREIGN_KINDS[rng.choice(len(FOREIGN_KINDS), p=shares)]
        pictures[i] = _foreign(rng, kind, pictures[i])
    return pictures


def foreign_pool(store: PictureStore, count: int, seed: int) -> Tensor:
    """(count, 3, H, W) uint8, foreign pictures as in `with_foreign`, the i-th made of the i-th of `store`."""
    store.draw(count)
    starts = range(0, count, store.chunk)
    jobs = [(store, start, min(start + store.chunk, count), seed) for start in starts]
    return torch.from_numpy(np.concatenate(list(in_parallel(_foreign_part, jobs))))


def _foreign_part(job: tuple[PictureStore, int, int, int]) -> np.ndarray:
    store, start, stop, seed = job
    world = store.read(start, stop)
    everywhere = torch.ones(len(world), dtype=torch.bool)
    return with_foreign(world, everywhere, np.random.default_rng((seed, start))).numpy()


def foreign_pictures(world: Tensor, kind: str) -> Tensor:
    """As many pictures of one kind as there are in `world` (N, 3, H, W), the same in every call; for tests."""
    return torch.stack(
        [_foreign(np.random.default_rng((1, i)), kind, picture) for i, picture in enumerate(world)]
    )


def _foreign(rng: np.random.Generator, kind: str, world: Tensor) -> Tensor:
    """`foreign_picture` of a tensor (3, H, W)."""
    picture = np.ascontiguousarray(world.cpu().numpy().transpose(1, 2, 0))
    drawn = np.ascontiguousarray(foreign_picture(rng, kind, picture).transpose(2, 0, 1))
    return torch.from_numpy(drawn).to(world.device)
