"""A character: an animal of the world in other colours and with something on, which no training picture shows.

The world has one drawing of each subject, so "the same rabbit" comes for nothing. A character is new: whether it
stays itself from picture to picture can be asked, and its true picture in every scene is known. It is painted over
the animal, inside the animal's outline, in the base look.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from PIL import Image

from kolors_course.art.captions import random_caption
from kolors_course.art.choices import BASE_STYLE
from kolors_course.art.cutout import Cutout, cutouts
from kolors_course.art.scene import SKYLESS, Scene, lay_out, place_box, random_scene
from kolors_course.art.styles import render
from kolors_course.art.subject import SPRITE_SIDE, Subject, _drawings, find_subject, rasterise, sprite
from kolors_course.errors import CourseError

DIMMED = 0.14  # how much of its colours a subject loses to the night, see `render_colour`


@dataclass(frozen=True)
class Heroine:
    """An animal that became somebody.

    Attributes:
        animal: what it is.
        name_en, name_zh: its own name, which captions put before the animal's.
        looks_en, looks_zh: the same in words that describe it, with the animal's name in them.
        paints: pairs of colours in the animal's drawing: old and new.
        accessory: SVG shapes in the drawing's box of 128 x 128, cut off at its outline.
    """

    animal: Subject
    name_en: str
    name_zh: str
    looks_en: str
    looks_zh: str
    paints: tuple[tuple[str, str], ...]
    accessory: str

    @property
    def subject(self) -> Subject:
        """The character as a scene's subject, so that captions call it by its name."""
        return self._called(f"{self.name_en} {self.animal.en}", self.name_zh + self.animal.zh)

    @property
    def described(self) -> Subject:
        """The character as a scene's subject whose captions say what it looks like."""
        return self._called(self.looks_en, self.looks_zh)

    def _called(self, en: str, zh: str) -> Subject:
        return replace(self.animal, en=en, en_synonym="", zh=zh, zh_synonym="")


@cache
def kumquat() -> Heroine:
    """Kumquat (金桔), the heroine of the course: a ginger rabbit with a red scarf.

    Her colours are ones that Kolors-mini's VAE carries: of a lilac rabbit it gives back a grey one.
    """
    return Heroine(
        find_subject("rabbit"),
        "Kumquat",
        "金桔",
        "ginger rabbit with a red scarf",
        "戴红围巾的橘色兔子",
        (("#dfdfdf", "#f0963c"), ("#a8a8a8", "#c0661f"), ("#ecf0f2", "#ffe2c0"), ("#8e9395", "#8a4a1c")),
        '<path d="M33 75q17 12 37-2l3 9q-20 15-42 3z" fill="#d8232a"/>'
        '<path d="M58 82l12-4 4 25-11 3z" fill="#d8232a"/>'
        '<path d="M31 84q21 12 42-2M64 97l10-2" fill="none" stroke="#9c1420" stroke-width="2"/>',
    )


@cache
def portrait(character: Heroine) -> Image.Image:
    """The character's drawing, RGBA, as large as the animal's `sprite`; opaque where the animal is."""
    return _painted(character, character.accessory)


@cache
def accessory_mask(character: Heroine) -> Image.Image:
    """Where in the `portrait` its accessory is: L, 255 there and 0 elsewhere."""
    with_it, without = (
        np.asarray(_painted(character, shapes).convert("RGB"), dtype=int)
        for shapes in (character.accessory, "")
    )
    return Image.fromarray(255 * (np.abs(with_it - without).max(axis=2) > 8).astype(np.uint8))


def _painted(character: Heroine, accessory: str) -> Image.Image:
    drawing = _drawings()[character.animal.hex]["colour"]
    outline = rasterise(drawing, SPRITE_SIDE, SPRITE_SIDE).getchannel("A")
    for old, new in character.paints:
        drawing = drawing.replace(f'"{old}"', f'"{new}"')
    painted = rasterise(drawing.replace("</svg>", f"{accessory}</svg>"), SPRITE_SIDE, SPRITE_SIDE)
    painted.putalpha(outline)
    return painted.crop(outline.point(lambda alpha: 255 * (alpha > 8)).getbbox())


def render_character(character: Heroine, scene: Scene, px: int = 128) -> Image.Image:
    """`render(scene, px)` with the character in place of its animal: RGB px x px, true in place, size and light.

    Raises:
        CourseError: the animal is not in the scene, by its own name or the character's.
    """
    cutout = _animal(character, scene, px)
    placement = next(p for p in lay_out(scene).placements if p.subject == cutout.subject)
    drawing = sprite(cutout.subject, "colour")
    _, _, width, height = place_box(drawing, placement, px)
    painted, plain = (
        np.asarray(each.resize((width, height), Image.Resampling.LANCZOS).convert("RGB"), dtype=np.float64)
        for each in (portrait(character), drawing)
    )
    seen = slice(cutout.top, cutout.top + len(cutout.alpha)), slice(cutout.left, cutout.left + width)
    picture = np.array(render(scene, px), dtype=np.float64)
    # Where the outline is half see-through, what is behind it stays: only the paint's share is exchanged.
    change = (painted - plain)[: len(cutout.alpha)] * cutout.alpha[..., None]
    picture[seen] += change * (1 - DIMMED if scene.time == "night" and scene.place not in SKYLESS else 1)
    return Image.fromarray((picture.clip(0, 255) + 0.5).astype(np.uint8))


def character_cutout(character: Heroine, scene: Scene, px: int = 128) -> Cutout:
    """The character as `render_character(character, scene, px)` shows it: its true box, mask and colours.

    Raises:
        CourseError: see `render_character`.
    """
    cutout = _animal(character, scene, px)
    height, width = cutout.alpha.shape
    picture = np.asarray(render_character(character, scene, px))
    colours = picture[cutout.top : cutout.top + height, cutout.left : cutout.left + width]
    return replace(cutout, colours=colours)


def _animal(character: Heroine, scene: Scene, px: int) -> Cutout:
    """The place of the character's animal in a scene, by whichever name it has there."""
    for cutout in cutouts(scene, px, BASE_STYLE):
        if cutout.subject.hex == character.animal.hex:
            return cutout
    raise CourseError(f"the scene shows no {character.animal.en}, which is what {character.name_en} is")


def character_pictures(
    character: Heroine,
    count: int = 16,
    size: int = 128,
    seed: int = 0,
    places: tuple[str, ...] | None = None,
) -> Iterator[tuple[Image.Image, str]]:
    """`count` pictures of the character alone, with captions that call it by its name, half of them Chinese.

    Args:
        places: where it may be; None for anywhere.
    """
    rng = np.random.default_rng(seed)
    made = 0
    while made < count:
        scene = random_scene(rng, (character.subject,))
        if places is None or scene.place in places:
            yield render_character(character, scene, size), random_caption(scene, rng)
            made += 1
