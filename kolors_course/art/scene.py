"""A scene is a handful of words (who, where, when, how big, on which side) plus a random seed."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from kolors_course.art.backdrop import PLACES, SKYLESS, TIMELESS, TIMES, Backdrop, draw_backdrop
from kolors_course.art.subject import Subject, rasterise, silhouette, sprite, subjects
from kolors_course.errors import CourseError, brief

SIZES = ("small", "normal", "big")
POSITIONS = ("left", "middle", "right")
SIDE_OF_SIZE = {"small": 0.30, "normal": 0.46, "big": 0.68}
CENTRE_OF_POSITION = {"left": 0.25, "middle": 0.50, "right": 0.75}
PAIR_SIDE, PAIR_CENTRES = 0.43, (0.27, 0.73)


@dataclass(frozen=True)
class Scene:
    """What a picture shows. Two subjects stand left and right, both of normal size.

    Raises:
        CourseError: a word that is not one of the known values, or a pair with a size, with a position or of
            the same subject.
    """

    subjects: tuple[Subject, ...]
    place: str
    time: str
    size: str = "normal"
    position: str = "middle"
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {"place": PLACES, "time": (*TIMES, TIMELESS), "size": SIZES, "position": POSITIONS}
        for key, values in allowed.items():
            if getattr(self, key) not in values:
                raise CourseError(
                    f"scene: {key} '{brief(getattr(self, key))}' is not one of {', '.join(values)}"
                )
        if (self.place == "space") != (self.time == TIMELESS):
            raise CourseError(f"scene: only place 'space' goes with time '{TIMELESS}'")
        if len(self.subjects) not in (1, 2):
            raise CourseError(f"scene: one or two subjects, not {len(self.subjects)}")
        if len(self.subjects) == 2:
            self._check_pair()

    def _check_pair(self) -> None:
        first, second = self.subjects
        if first == second:
            raise CourseError(f"scene: the two subjects are both '{first.en}'; name two different ones")
        if (self.size, self.position) != ("normal", "middle"):
            raise CourseError(
                "scene: two subjects stand left and right in normal size; leave size and position out"
            )

    @property
    def triples(self) -> tuple[tuple[str, str, str], ...]:
        """(subject, place, time) of every subject: what the hold-out is made of."""
        return tuple((subject.en, self.place, self.time) for subject in self.subjects)


def random_scene(rng: np.random.Generator, pool: tuple[Subject, ...] | None = None) -> Scene:
    """Draw a scene: 30 % with two subjects; size 1:2:1; position left:middle:right 1:2:1."""
    pool = subjects() if pool is None else pool
    place = PLACES[rng.integers(len(PLACES))]
    time = TIMELESS if place == "space" else TIMES[rng.integers(len(TIMES))]
    pair = len(pool) > 1 and rng.random() < 0.30
    chosen = tuple(pool[i] for i in rng.choice(len(pool), 2 if pair else 1, replace=False))
    size = "normal" if pair else str(rng.choice(SIZES, p=(0.25, 0.5, 0.25)))
    position = "middle" if pair else str(rng.choice(POSITIONS, p=(0.25, 0.5, 0.25)))
    return Scene(chosen, place, time, size, position, int(rng.integers(2**31)))


@dataclass(frozen=True)
class Placement:
    """Where a subject stands, in fractions of the picture's side: box centre x, bottom y, longest side."""

    subject: Subject
    x: float
    bottom: float
    side: float


@dataclass(frozen=True)
class Layout:
    """A scene with every random choice made: the same for the coloured look and for every style."""

    scene: Scene
    backdrop: Backdrop
    placements: tuple[Placement, ...]


def lay_out(scene: Scene) -> Layout:
    """Make the random choices of `scene` (from `scene.seed` alone)."""
    rng = np.random.default_rng(scene.seed)
    backdrop = draw_backdrop(scene.place, scene.time, rng)
    pair = len(scene.subjects) == 2
    side = PAIR_SIDE if pair else SIDE_OF_SIZE[scene.size]
    centres = PAIR_CENTRES if pair else (CENTRE_OF_POSITION[scene.position],)
    placements = []
    for subject, centre in zip(scene.subjects, centres, strict=True):
        low, high = (16, 30) if scene.place == "room" else (18, 34)
        bottom = (backdrop.horizon + rng.uniform(low, high)) / 128
        if scene.place == "space":
            bottom = 0.55 + side / 2
        elif subject.habitat == "air" and scene.place != "room":
            bottom -= 0.14
        placements.append(Placement(subject, centre + rng.uniform(-0.03, 0.03), bottom, side))
    return Layout(scene, backdrop, tuple(placements))


def place_box(
    image: Image.Image, placement: Placement, px: int, enlarge: float = 1.0
) -> tuple[int, int, int, int]:
    """Pixel box (left, top, width, height) of a drawing put at `placement`, kept inside the picture."""
    side = min(placement.side * enlarge, 0.92) * px
    factor = side / max(image.size)
    width, height = (max(1, round(length * factor)) for length in image.size)
    left = round(placement.x * px - width / 2)
    # Enlarged drawings grow around their middle third, so that they keep standing on the ground.
    top = round(placement.bottom * px + 0.3 * (enlarge - 1) * height - height)
    return min(max(left, 1), px - width - 1), min(max(top, 1), px - height - 1), width, height


def draw_shapes(shapes: list[str], px: int) -> Image.Image:
    """SVG shapes in a 128 x 128 box, drawn as RGB px x px."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128">{"".join(shapes)}</svg>'
    return rasterise(svg, px, px).convert("RGB")


def backdrop_image(backdrop: Backdrop, px: int) -> Image.Image:
    """The landscape alone, in colour, RGB px x px."""
    shapes = []
    for e in backdrop.elements:
        paint = f'fill="{e.colour}"'
        if e.width:
            paint = f'fill="none" stroke="{e.colour}" stroke-width="{e.width}" stroke-linecap="round"'
        shapes.append(e.shape.format(paint=paint))
    return draw_shapes([backdrop.defs, *shapes], px)


def _shadow(canvas: Image.Image, box: tuple[int, int, int, int]) -> None:
    left, top, width, height = box
    px = canvas.width
    mask = Image.new("L", canvas.size)
    thick = max(2, 0.05 * px)
    y = top + height - thick * 0.6
    ImageDraw.Draw(mask).ellipse((left + 0.08 * width, y, left + 0.92 * width, y + thick), fill=80)
    canvas.paste((20, 20, 40), mask=mask.filter(ImageFilter.GaussianBlur(1.2 * px / 128)))


def sinks(scene: Scene, subject: Subject) -> bool:
    """Whether the waves hide the foot of `subject`."""
    return scene.place == "sea" and subject.habitat != "air"


def above_water(drawing: Image.Image) -> Image.Image:
    """What the waves leave of a drawing at its final size."""
    return drawing.crop((0, 0, drawing.width, max(1, round(0.94 * drawing.height))))


def render_colour(layout: Layout, px: int = 128, enlarge: float = 1.0) -> Image.Image:
    """The base look: Noto colour drawings in a tinted landscape, RGB px x px."""
    scene = layout.scene
    canvas = backdrop_image(layout.backdrop, px)
    outdoors = scene.place not in SKYLESS
    for placement in layout.placements:
        drawing = sprite(placement.subject, "colour")
        left, top, width, height = box = place_box(drawing, placement, px, enlarge)
        drawing = drawing.resize((width, height), Image.Resampling.LANCZOS)
        if sinks(scene, placement.subject):
            drawing = above_water(drawing)
        elif scene.place != "space" and placement.subject.habitat != "air":
            _shadow(canvas, box)
        if scene.time == "night" and outdoors:
            night = Image.new("RGB", drawing.size, (20, 26, 60))
            dimmed = Image.blend(drawing.convert("RGB"), night, 0.14)
            dimmed.putalpha(drawing.getchannel("A"))
            drawing = dimmed
        canvas.paste(drawing, (left, top), drawing)
    return canvas


def paste_line_drawing(
    canvas: Image.Image, placement: Placement, pack: str, enlarge: float, paper: tuple, ink: tuple
) -> None:
    """Paste paper through the filled silhouette, then ink through the drawing."""
    drawing = sprite(placement.subject, pack)
    left, top, width, height = place_box(drawing, placement, canvas.width, enlarge)
    for mask, colour in ((silhouette(placement.subject, pack), paper), (drawing.getchannel("A"), ink)):
        shrunk = mask.resize((width, height), Image.Resampling.LANCZOS)
        canvas.paste(colour, (left, top, left + width, top + height), shrunk)
