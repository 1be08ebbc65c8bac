"""The hundred or so things that can stand in a scene, and their drawings."""

import csv
import gzip
import io
import json
from dataclasses import dataclass
from functools import cache

import numpy as np
import resvg_py
from PIL import Image
from scipy import ndimage

from kolors_course.errors import CourseError, brief
from kolors_course.platform.paths import data_dir

PACKS = ("colour", "line300", "line400", "bold")
SPRITE_SIDE = 192  # drawings are rasterised once at this size and shrunk from there


@dataclass(frozen=True)
class Subject:
    """One row of data/art/subjects.csv.

    `habitat` (land, item, air, water) decides the height at which the subject is placed; `classifier` is the
    Chinese measure word; `group` (animals, plants, …) is for lists.
    """

    hex: str
    emoji: str
    en: str
    en_synonym: str
    zh: str
    zh_synonym: str
    classifier: str
    habitat: str
    group: str


@cache
def subjects() -> tuple[Subject, ...]:
    """All subjects, in the order of the table (the class index of the probe networks)."""
    with (data_dir() / "art" / "subjects.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Subject(**row) for row in csv.DictReader(file))


@cache
def subject_index() -> dict[str, int]:
    """English name -> class index."""
    return {subject.en: i for i, subject in enumerate(subjects())}


def find_subject(name: str) -> Subject:
    """Look a subject up by its English or Chinese name or synonym.

    Raises:
        CourseError: no subject has this name.
    """
    for subject in subjects():
        if name and name in (subject.en, subject.zh, subject.en_synonym, subject.zh_synonym):
            return subject
    raise CourseError(
        f"unknown subject '{brief(name)}'; data/art/subjects.csv lists the {len(subjects())} known ones"
    )


@cache
def _drawings() -> dict[str, dict[str, str]]:
    packed = (data_dir() / "art" / "subjects.svg.json.gz").read_bytes()
    return json.loads(gzip.decompress(packed))


def rasterise(svg: str, width: int, height: int) -> Image.Image:
    """Draw SVG text with resvg (no system fonts) as RGBA."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=width, height=height, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


@cache
def sprite(subject: Subject, pack: str) -> Image.Image:
    """The subject's drawing from one of `PACKS`, RGBA, cropped to its opaque box."""
    image = rasterise(_drawings()[subject.hex][pack], SPRITE_SIDE, SPRITE_SIDE)
    return image.crop(image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())


@cache
def silhouette(subject: Subject, pack: str) -> Image.Image:
    """The filled outline of `sprite(subject, pack)` as an L mask of the same size.

    Line drawings are hollow; without this mask the landscape would show through them.
    """
    alpha = np.asarray(sprite(subject, pack).getchannel("A")) > 60
    pad = 12
    closed = ndimage.binary_closing(np.pad(alpha, pad), iterations=9)
    filled = ndimage.binary_fill_holes(closed)[pad:-pad, pad:-pad]
    return Image.fromarray(filled.astype(np.uint8) * 255)
