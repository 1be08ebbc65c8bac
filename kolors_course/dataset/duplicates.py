"""Finding pictures that are there twice, as the same pixels or as nearly the same picture."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

HASH_SIDE, GREY_SIDE, COLOUR_SIDE = 8, 32, 8
# Measured on the three data sets of this repository: JPEG of quality 50, half and double size and 10 % more
# light change at most 4 bits and 20 levels; different scenes differ by at least 6 bits.
MAX_BITS, MAX_LEVELS = 4, 20.0


@dataclass(frozen=True)
class Fingerprint:
    """What a picture is compared with others by.

    Attributes:
        pixels: SHA-256 of size and pixels: equal for the same picture in another file format.
        bits: (64,) bool, the perceptual hash.
        colours: (192,) float, an 8x8 thumbnail in levels 0..255, because the hash does not see colour.
    """

    pixels: str
    bits: np.ndarray
    colours: np.ndarray


def fingerprint(image: Image.Image) -> Fingerprint:
    """The fingerprint of an upright RGB picture, as from `open_picture`."""
    pixels = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
    thumbnail = image.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX)
    return Fingerprint(pixels, perceptual_hash(image), np.asarray(thumbnail, dtype=float).ravel())


def perceptual_hash(image: Image.Image) -> np.ndarray:
    """(64,) bits that change little when a picture is scaled, compressed or brightened.

    pHash, as the library ImageHash computes it: the 8x8 lowest frequencies of the cosine transform of the grey
    32x32 picture, each compared with their median (Zauner, "Implementation and Benchmarking of Perceptual Image
    Hash Functions", 2010).
    """
    grey = image.convert("L").resize((GREY_SIDE, GREY_SIDE), Image.Resampling.LANCZOS)
    frequencies = dctn(np.asarray(grey, dtype=float))[:HASH_SIDE, :HASH_SIDE]
    frequencies = frequencies.round(6)  # rounding errors around 0 would be random bits of flat pictures
    return (frequencies > np.median(frequencies)).ravel()


def same_pictures(fingerprints: Sequence[Fingerprint]) -> list[list[int]]:
    """Groups of indices with equal pixels, each of two or more."""
    groups = defaultdict(list)
    for index, one in enumerate(fingerprints):
        groups[one.pixels].append(index)
    return [group for group in groups.values() if len(group) > 1]


def similar_pictures(fingerprints: Sequence[Fingerprint]) -> list[list[int]]:
    """Groups of indices that look alike but are not the same; of same pictures only the first is compared."""
    first = {one.pixels: index for index, one in reversed(list(enumerate(fingerprints)))}
    indices = np.array(sorted(first.values()), dtype=int)
    if len(indices) < 2:
        return []
    bits = np.stack([fingerprints[i].bits for i in indices]).astype(float)
    colours = np.stack([fingerprints[i].colours for i in indices])
    # Between vectors of 0 and 1 the Manhattan distance (p=1) is the number of different bits.
    pairs = KDTree(bits).query_pairs(MAX_BITS, p=1, output_type="ndarray")
    levels = np.sqrt(np.square(colours[pairs[:, 0]] - colours[pairs[:, 1]]).mean(axis=1))
    pairs = pairs[levels <= MAX_LEVELS]
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(indices), len(indices)))
    _, labels = connected_components(links, directed=False)
    groups = [indices[labels == label].tolist() for label in np.flatnonzero(np.bincount(labels) > 1)]
    return sorted(groups)
