"""Shape fidelity over many pictures: a model's, and the bounds that say what its value is worth."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from PIL import Image

from kolors_course.art import BASE_STYLE, Scene, Subject, render
from kolors_course.evaluation.fidelity import Match, shape_fidelity
from kolors_course.evaluation.prompts import HeldOutPrompt
from kolors_course.kolors.latents import decode_latents, encode_pictures
from kolors_course.kolors.model import KolorsModel


@dataclass(frozen=True)
class Likeness:
    """A picture of a scene, and how like its true drawing each subject is."""

    scene: Scene
    picture: Image.Image
    matches: tuple[Match, ...]

    @property
    def value(self) -> float:
        """Of a pair, the mean."""
        return fmean(match.value for match in self.matches)

    @property
    def subjects(self) -> tuple[tuple[Subject, Match], ...]:
        return tuple(zip(self.scene.subjects, self.matches, strict=True))


@dataclass(frozen=True)
class Fidelity:
    """Shape fidelity of a model's pictures of `prompts`, beside that of its VAE alone and of the world.

    Attributes:
        drawn: one for each prompt.
        vae: one for each prompt: the true picture after the model's VAE and back. No sampling draws better.
        world: one for each prompt: the same words drawn anew by the world. It is 1 where a style leaves nothing to
            chance.
    """

    prompts: tuple[HeldOutPrompt, ...]
    style: str
    drawn: tuple[Likeness, ...]
    vae: tuple[Likeness, ...]
    world: tuple[Likeness, ...]

    @property
    def kinds(self) -> dict[str, tuple[Likeness, ...]]:
        return {"model": self.drawn, "vae": self.vae, "world": self.world}

    def means(self, language: str | None = None) -> dict[str, float]:
        """Mean over the pictures of all prompts or one language's, by kind."""
        rows = [i for i, prompt in enumerate(self.prompts) if language in (None, prompt.language)]
        return {kind: fmean(likenesses[i].value for i in rows) for kind, likenesses in self.kinds.items()}

    def by_subject(self) -> dict[str, dict[str, float]]:
        """Means by English name and kind, the worst drawn first."""
        values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for kind, likenesses in self.kinds.items():
            for likeness in likenesses:
                for subject, match in likeness.subjects:
                    values[subject.en][kind].append(match.value)
        means = {name: {kind: fmean(v) for kind, v in kinds.items()} for name, kinds in values.items()}
        return dict(sorted(means.items(), key=lambda item: item[1]["model"]))

    def worst(self, count: int) -> list[tuple[int, int]]:
        """The worst drawn subjects, each in its worst picture: (prompt, place among its scene's subjects)."""
        ranked = sorted(
            (match.value, i, place)
            for i, likeness in enumerate(self.drawn)
            for place, match in enumerate(likeness.matches)
        )
        first: dict[str, tuple[int, int]] = {}
        for _, i, place in ranked:
            first.setdefault(self.prompts[i].scene.subjects[place].en, (i, place))
        return list(first.values())[:count]


def measure_fidelity(
    model: KolorsModel,
    prompts: Sequence[HeldOutPrompt],
    pictures: Sequence[Image.Image],
    style: str = BASE_STYLE,
    batch_size: int = 8,
) -> Fidelity:
    """Hold the model's square pictures of `prompts` against the true drawings in `style`, and find the bounds.

    Args:
        model: only its VAE is used.
        batch_size: pictures in the VAE at a time.

    Raises:
        CourseError: unknown style, or pictures that are not square.
    """
    scenes = list(dict.fromkeys(prompt.scene for prompt in prompts))  # each is asked for in two languages
    px = pictures[0].width
    vae = _through_vae(model, [render(scene, px, style) for scene in scenes], batch_size)
    anew = [render(replace(scene, seed=scene.seed + 1), px, style) for scene in scenes]
    bounds = [
        {scene: _likeness(scene, picture, style) for scene, picture in zip(scenes, kind, strict=True)}
        for kind in (vae, anew)
    ]
    drawn = (
        _likeness(prompt.scene, picture, style) for prompt, picture in zip(prompts, pictures, strict=True)
    )
    by_prompt = (tuple(bound[prompt.scene] for prompt in prompts) for bound in bounds)
    return Fidelity(tuple(prompts), style, tuple(drawn), *by_prompt)


def _likeness(scene: Scene, picture: Image.Image, style: str) -> Likeness:
    return Likeness(scene, picture, shape_fidelity(picture, scene, style))


def _through_vae(model: KolorsModel, pictures: Sequence[Image.Image], batch_size: int) -> list[Image.Image]:
    again: list[Image.Image] = []
    for start in range(0, len(pictures), batch_size):
        again += decode_latents(model, encode_pictures(model, pictures[start : start + batch_size]))
    return again
