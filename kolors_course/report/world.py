"""The world's own pictures beside a model's: distances of the two sets, and what was copied from training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from kolors_course.art import Subject, draw_scene, render
from kolors_course.evaluation import (
    Copies,
    HeldOutPrompt,
    Manifold,
    Probe,
    expected_coverage,
    find_copies,
    frechet_distance,
    frechet_infinity,
    kernel_distance,
    kernel_interval,
    manifold_scores,
    picture_features,
    pixel_vectors,
    vendi_score,
)

WORLD_SEED, CHANCE_SEED = 1, 0


@dataclass(frozen=True)
class Distances:
    """A model's pictures against as many of the world.

    Attributes:
        pictures: of each kind.
        chance: the middle 95 % of KID where both are one set.
        coverage_of_same: what coverage would be if they were; see `expected_coverage`.
        variety, world_variety: Vendi scores.
    """

    pictures: int
    kid: float
    chance: tuple[float, float]
    fid: float
    fid_infinity: float
    manifold: Manifold
    coverage_of_same: float
    variety: float
    world_variety: float


@dataclass(frozen=True)
class Memorised:
    """Nearest training pictures, by the probe's features and by pixels."""

    training: tuple[Image.Image, ...]
    features: Copies
    pixels: Copies


def independent_rows(prompts: Sequence[HeldOutPrompt]) -> list[int]:
    """One prompt of each scene, in English and in Chinese by turns.

    The two pictures of a scene share its noise and are much alike; as two points they would upset every distance.
    """
    return [row for row in range(len(prompts)) if row % 2 == row // 2 % 2]


def world_pictures(
    count: int, style: str, px: int, pool: tuple[Subject, ...] | None = None
) -> list[Image.Image]:
    """Pictures of other held-out scenes than those of the test, drawn by the world."""
    rng = np.random.default_rng(WORLD_SEED)
    return [render(draw_scene(rng, held_out=True, pool=pool), px, style) for _ in range(count)]


def measure_distances(
    probe: Probe, pictures: Sequence[Image.Image], world: Sequence[Image.Image]
) -> Distances:
    """Distances on the probe's features, of pictures that have nothing to do with each other.

    Raises:
        ValueError: there are fewer than 10 pictures of a kind.
    """
    made, real = picture_features(probe, pictures), picture_features(probe, world)
    return Distances(
        len(made),
        kernel_distance(real, made),
        kernel_interval(real, made, torch.Generator().manual_seed(CHANCE_SEED)),
        frechet_distance(real, made),
        frechet_infinity(real, made, torch.Generator().manual_seed(CHANCE_SEED)),
        manifold_scores(real, made),
        expected_coverage(len(real), len(made)),
        vendi_score(made),
        vendi_score(real),
    )


def find_memory(
    probe: Probe,
    pictures: Sequence[Image.Image],
    world: Sequence[Image.Image],
    training: Sequence[Image.Image],
) -> Memorised:
    """The nearest training picture of each picture; `world` says how near is usual.

    Raises:
        ValueError: there are fewer than two training pictures.
    """
    sets = (pictures, world, training)
    return Memorised(
        tuple(training),
        find_copies(*(picture_features(probe, each) for each in sets)),
        find_copies(*(pixel_vectors(each) for each in sets)),
    )
