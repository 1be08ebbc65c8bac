"""The fixed test: held-out scenes asked for in both languages."""

from dataclasses import dataclass

import numpy as np

from kolors_course.art import LENGTHS, Scene, Subject, caption, draw_scene

TEST_SEED = 2024


@dataclass(frozen=True)
class HeldOutPrompt:
    """One scene asked for in one language, and the seed of its noise."""

    scene: Scene
    language: str
    prompt: str
    seed: int


def held_out_prompts(
    scenes: int, pool: tuple[Subject, ...] | None = None, seed: int = TEST_SEED
) -> list[HeldOutPrompt]:
    """`scenes` scenes whose (subject, place, time) no training picture shows, each in English and in Chinese.

    Both languages share the noise seed, so that differences come from the words. Caption lengths take turns.
    """
    rng = np.random.default_rng(seed)
    prompts = []
    for index in range(scenes):
        scene = draw_scene(rng, held_out=True, pool=pool)
        length = LENGTHS[index % len(LENGTHS)]
        for language in ("en", "zh"):
            prompts.append(HeldOutPrompt(scene, language, caption(scene, language, length), 10_000 + index))
    return prompts
