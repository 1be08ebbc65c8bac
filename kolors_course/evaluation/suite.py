"""A fixed prompt benchmark after GenEval (2310.11513) on the world of this course: tasks, prompts, judgement.

As in GenEval each task asks for one thing, a detector looks, and the score is the mean of the tasks' shares. The
detector is the probe. GenEval's tasks here:

* single_object, two_object: the subjects are there, and no other number of them.
* counting: one subject or two, of different kinds. GenEval's two to four of one kind are not in this world.
* position: two subjects, the first named on the left; GenEval also asks for above and below.
* colors: no words of colour are in this world. `size` and `style` ask for an attribute of the subject, and of all.
* attribution, in GenEval color_attr: each of two subjects its own attribute; here a big one and a small one. No
  training caption of Kolors-mini says such a thing: it must put together what it knows.

Stricter than GenEval is *all facts right*: the same pictures, with everything that the scene says asked at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from kolors_course.art import BASE_MODEL_STYLES, BASE_STYLE, LENGTHS, Scene, Subject, caption, draw_scene
from kolors_course.art.captions import SIZE_EN, SIZE_ZH, in_style, with_article
from kolors_course.errors import CourseError
from kolors_course.evaluation.intervals import Interval, wilson
from kolors_course.evaluation.probes import Probe, agreement, find_in_picture, look

SUITE_SEED = 2310
DEAD_ZONE = 0.1  # of the picture's width that two subjects are at least apart, as in GenEval's position
TIMES_LARGER = 1.5  # extent of the big subject over that of the small one, at least; see `find_in_picture`

# Task -> the facts that make it right.
TASKS: dict[str, tuple[str, ...]] = {
    "single_object": ("subject", "count"),
    "two_object": ("subject", "count"),
    "counting": ("count",),
    "size": ("subject", "size"),
    "style": ("subject", "style"),
    "position": ("subject", "count", "order"),
    "attribution": ("subject", "count", "sizes"),
}
SIDED = ("position", "attribution")  # their prompts say the sides
PAIRS = ("two_object", "position", "attribution")


@dataclass(frozen=True)
class SuitePrompt:
    """One prompt of a task.

    Attributes:
        style: what the picture must look like, named in the prompt or not.
        sizes: of the subject on the left and of that on the right, in the task "attribution"; else ().
    """

    task: str
    scene: Scene
    style: str
    language: str
    prompt: str
    seed: int
    sizes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What the probe found of a prompt: `facts` by name, "order" and "sizes" only where the prompt says them."""

    asked: SuitePrompt
    facts: dict[str, bool]

    @property
    def right(self) -> bool:
        """The task is fulfilled."""
        return all(self.facts[name] for name in TASKS[self.asked.task])

    @property
    def all_right(self) -> bool:
        return all(self.facts.values())


@dataclass(frozen=True)
class SuiteScores:
    """Shares by task, and over all.

    Attributes:
        tasks: share of right pictures.
        mean: of the tasks. They have equally many prompts, so it is the share of all pictures, with its interval.
        all_facts: share of pictures with every fact right.
    """

    tasks: dict[str, Interval]
    mean: Interval
    all_facts: Interval


def suite_prompts(
    scenes: int, style: str = BASE_STYLE, pool: tuple[Subject, ...] | None = None
) -> list[SuitePrompt]:
    """`scenes` held-out scenes for each task, each in English and in Chinese with the same noise.

    Fewer scenes are the first of more. The style task names one of the styles that the base model knows; where
    another `style` is wanted, as of a LoRA, it asks for that one, unnamed.

    Raises:
        CourseError: `pool` has fewer than two subjects, or none with a held-out scene.
    """
    if pool is not None and len(pool) < 2:
        raise CourseError("the tasks with two subjects need a pool of at least two")
    return [
        prompt
        for number, task in enumerate(TASKS)
        for prompt in _prompts_of(task, scenes, style, pool, np.random.default_rng([SUITE_SEED, number]))
    ]


def _prompts_of(
    task: str, scenes: int, style: str, pool: tuple[Subject, ...] | None, rng: np.random.Generator
) -> Iterator[SuitePrompt]:
    first_seed = 100_000 * (1 + list(TASKS).index(task))
    for index in range(scenes):
        scene = _scene(task, index, rng, pool)
        named = BASE_MODEL_STYLES[index % len(BASE_MODEL_STYLES)]
        wanted = named if task == "style" and style == BASE_STYLE else style
        sizes = (("big", "small"), ("small", "big"))[index % 2] if task == "attribution" else ()
        # Only detailed captions say who of two is on which side.
        length = "detailed" if task in SIDED else LENGTHS[index % len(LENGTHS)]
        for language in ("en", "zh"):
            text = caption(scene, language, length)
            if sizes:
                text = _with_sizes(text, scene, language, sizes)
            if wanted != style:
                text = in_style(text, language, wanted)
            yield SuitePrompt(task, scene, wanted, language, text, first_seed + index, sizes)


def _with_sizes(text: str, scene: Scene, language: str, sizes: tuple[str, ...]) -> str:
    """A detailed caption of two subjects with a size said of each."""
    for subject, size, side, side_zh in zip(scene.subjects, sizes, ("left", "right"), "左右", strict=True):
        if language == "en":
            phrase = f"{with_article(subject.en)} on the {side}"
            text = text.replace(phrase, f"{with_article(f'{SIZE_EN[size][0]} {subject.en}')} on the {side}")
        else:
            before = f"{side_zh}边是一{subject.classifier}"
            text = text.replace(before, before + SIZE_ZH[size][0])
    return text


def _scene(task: str, index: int, rng: np.random.Generator, pool: tuple[Subject, ...] | None) -> Scene:
    """A held-out scene with as many subjects as the task wants; in the middle, and of normal size but for "size"."""
    count = 2 if task in PAIRS or (task == "counting" and index % 2) else 1
    while len((scene := draw_scene(rng, held_out=True, pool=pool)).subjects) != count:
        pass
    size = ("small", "big")[index % 2] if task == "size" else "normal"
    return replace(scene, size=size, position="middle")


def judge(probe: Probe, prompts: Sequence[SuitePrompt], pictures: Sequence[Image.Image]) -> list[Answer]:
    """Let the probe look at the pictures of all prompts."""
    answers = []
    for asked, picture, verdict in zip(prompts, pictures, look(probe, pictures), strict=True):
        facts = agreement(asked.scene, verdict) | {"style": verdict.style == asked.style}
        answers.append(Answer(asked, facts | _facts_of_two(probe, asked, picture)))
    return answers


def _facts_of_two(probe: Probe, asked: SuitePrompt, picture: Image.Image) -> dict[str, bool]:
    """Who stands where, and who is larger, where the prompt says it."""
    if asked.task not in SIDED:
        return {}
    left, right = find_in_picture(probe, picture, asked.scene.subjects)
    facts = {"order": right.x - left.x > DEAD_ZONE}
    if asked.task == "attribution":
        big, small = (left, right) if asked.sizes == ("big", "small") else (right, left)
        facts["sizes"] = big.extent > TIMES_LARGER * small.extent
    return facts


def suite_scores(answers: Sequence[Answer], language: str | None = None) -> SuiteScores:
    """Scores over all prompts or one language's, with Wilson intervals.

    Raises:
        ValueError: a task has no answer.
    """
    chosen = [answer for answer in answers if language in (None, answer.asked.language)]
    tasks = {task: [a.right for a in chosen if a.asked.task == task] for task in TASKS}
    return SuiteScores(
        {task: wilson(sum(right), len(right)) for task, right in tasks.items()},
        wilson(sum(answer.right for answer in chosen), len(chosen)),
        wilson(sum(answer.all_right for answer in chosen), len(chosen)),
    )


def suite_table(columns: dict[str, SuiteScores]) -> list[str]:
    """A Markdown table: a row for each task, their mean and all facts; a column for each entry."""
    lines = ["| task | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for task in TASKS:
        lines.append(
            f"| {task} | " + " | ".join(_cell(scores.tasks[task]) for scores in columns.values()) + " |"
        )
    lines.append("| **mean of tasks** | " + " | ".join(_cell(s.mean) for s in columns.values()) + " |")
    lines.append("| all facts right | " + " | ".join(_cell(s.all_facts) for s in columns.values()) + " |")
    lines.append("| prompts | " + " | ".join(str(s.mean.count) for s in columns.values()) + " |")
    return lines


def _cell(share: Interval) -> str:
    return f"{share.value:.1%} ({share.low:.1%} – {share.high:.1%})"
