"""A fixed prompt benchmark after GenEval (2310.11513) on the world of this course: tasks, prompts, judgement.

As in GenEval each task asks for one thing, a detector looks, and the score is the mean of the tasks' shares. The
detector is the probe. GenEval's tasks here:

* single_object, two_object: the subjects are there, and no other number of them.
* counting: one subject or two, of different kinds. GenEval's two to four of one kind are not in this world.
* position: two subjects, the first named on the left; GenEval also asks for above and below.
* colors: no words of colour are in this world. `size` and `style` ask for an attribute of the subject, and of all.
* color_attr has no counterpart: no caption gives each of two subjects its own attribute, other than its side.

Stricter than GenEval is *all facts right*: the same pictures, with everything that the scene says asked at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from kolors_course.art import BASE_MODEL_STYLES, BASE_STYLE, LENGTHS, Scene, Subject, caption, draw_scene
from kolors_course.art.captions import in_style
from kolors_course.errors import CourseError
from kolors_course.evaluation.intervals import Interval, wilson
from kolors_course.evaluation.probes import Probe, agreement, look, subject_centres

SUITE_SEED = 2310
DEAD_ZONE = (
    0.1  # of the picture's width that two subjects must at least be apart, as in GenEval's position task
)

# Task -> the facts that make it right.
TASKS: dict[str, tuple[str, ...]] = {
    "single_object": ("subject", "count"),
    "two_object": ("subject", "count"),
    "counting": ("count",),
    "size": ("subject", "size"),
    "style": ("subject", "style"),
    "position": ("subject", "count", "order"),
}


@dataclass(frozen=True)
class SuitePrompt:
    """One prompt of a task. `style` is what the picture must look like, named in the prompt or not."""

    task: str
    scene: Scene
    style: str
    language: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class Answer:
    """What the probe found of a prompt: `facts` by name, "order" only where the prompt says the sides."""

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
    prompts = []
    for number, task in enumerate(TASKS):
        rng = np.random.default_rng([SUITE_SEED, number])
        for index in range(scenes):
            scene = _scene(task, index, rng, pool)
            look_named = BASE_MODEL_STYLES[index % len(BASE_MODEL_STYLES)]
            wanted = look_named if task == "style" and style == BASE_STYLE else style
            # Only detailed captions say who of two is on which side.
            length = "detailed" if task == "position" else LENGTHS[index % len(LENGTHS)]
            for language in ("en", "zh"):
                text = caption(scene, language, length)
                if wanted != style:
                    text = in_style(text, language, wanted)
                prompts.append(
                    SuitePrompt(task, scene, wanted, language, text, 100_000 * (number + 1) + index)
                )
    return prompts


def _scene(task: str, index: int, rng: np.random.Generator, pool: tuple[Subject, ...] | None) -> Scene:
    """A held-out scene with as many subjects as the task wants; in the middle, and of normal size but for "size"."""
    count = {"two_object": 2, "position": 2, "counting": 1 + index % 2}.get(task, 1)
    while len((scene := draw_scene(rng, held_out=True, pool=pool)).subjects) != count:
        pass
    size = ("small", "big")[index % 2] if task == "size" else "normal"
    return replace(scene, size=size, position="middle")


def judge(probe: Probe, prompts: Sequence[SuitePrompt], pictures: Sequence[Image.Image]) -> list[Answer]:
    """Let the probe look at the pictures of all prompts."""
    answers = []
    for asked, picture, verdict in zip(prompts, pictures, look(probe, pictures), strict=True):
        facts = agreement(asked.scene, verdict) | {"style": verdict.style == asked.style}
        if asked.task == "position":
            left, right = subject_centres(probe, picture, asked.scene.subjects)
            facts["order"] = right - left > DEAD_ZONE
        answers.append(Answer(asked, facts))
    return answers


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
