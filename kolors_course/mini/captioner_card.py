"""How good a captioner is, by facts: on fresh scenes, on compositions never shown, on generated pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from kolors_course.art import BASE_STYLE, Scene, draw_scene, render
from kolors_course.captioner.interface import Captioner
from kolors_course.captioner.scores import CaptionScores, score_captions
from kolors_course.captioner.tasks import TASKS
from kolors_course.evaluation import Probe, agreement, evaluate, held_out_prompts
from kolors_course.kolors import KolorsModel
from kolors_course.mini.pictures import PictureSpec, choose_scene

FRESH, GENERATED = 600, 60  # scenes; of a generated one, a picture in each language
FIRST_FRESH = 10_000_000  # far behind every picture that training drew


@dataclass(frozen=True)
class Judged:
    """Pictures with their scenes."""

    scenes: Sequence[Scene]
    pictures: Sequence[Image.Image]


def fresh_pictures(spec: PictureSpec, count: int, styled: bool) -> Judged:
    """Pictures of a spec, in the default look or in styles, that nothing was trained on."""
    chosen: list[tuple[Scene, str]] = []
    index = FIRST_FRESH
    while len(chosen) < count:
        scene, style = choose_scene(spec, index)
        index += 1
        if (style != BASE_STYLE) == styled:
            chosen.append((scene, style))
    return Judged([s for s, _ in chosen], [render(s, spec.size, style) for s, style in chosen])


def held_out_pictures(count: int, size: int) -> Judged:
    """Scenes whose (subject, place, time) no training picture shows, in the default look."""
    rng = np.random.default_rng(2025)
    scenes = [draw_scene(rng, held_out=True) for _ in range(count)]
    return Judged(scenes, [render(scene, size) for scene in scenes])


def generated_pictures(model: KolorsModel, probe: Probe, scenes: int) -> tuple[Judged, Judged]:
    """What the model draws of held-out prompts in both languages, by its own sampling: all, and those right ones.

    A generated picture does not always show what its prompt asks for, and then a captioner that sees well is called
    wrong. In the second lot are the pictures in which the probe finds every fact of the prompt.
    """
    prompts = held_out_prompts(scenes)
    drawn = evaluate(model, probe, prompts)
    agreed = [i for i, p in enumerate(prompts) if all(agreement(p.scene, drawn.verdicts[i]).values())]
    every = Judged([p.scene for p in prompts], drawn.pictures)
    return every, Judged([prompts[i].scene for i in agreed], [drawn.pictures[i] for i in agreed])


def score_tasks(captioner: Captioner, judged: Judged) -> dict[str, CaptionScores]:
    """ "zh detailed" and the others -> scores, each task on all pictures; "all" takes a task for each in turn.

    Facts of one picture in several tasks are no independent evidence: intervals are those of one task, or of "all".
    """
    written = {task: [str(answer) for answer in captioner.caption(judged.pictures, *task)] for task in TASKS}
    scores = {
        " ".join(task): score_captions(judged.scenes, texts, [task] * len(texts))
        for task, texts in written.items()
    }
    turns = [TASKS[i % len(TASKS)] for i in range(len(judged.scenes))]
    mixed = [written[task][i] for i, task in enumerate(turns)]
    return {"all": score_captions(judged.scenes, mixed, turns), **scores}


def measure_captioner(
    captioner: Captioner,
    spec: PictureSpec,
    model: KolorsModel,
    probe: Probe,
    fresh: int = FRESH,
    generated: int = GENERATED,
) -> dict[str, Any]:
    """Scores by kind of picture and task, as JSON can hold them."""
    every, agreed = generated_pictures(model, probe, generated)
    kinds = {
        "fresh scenes": fresh_pictures(spec, fresh, styled=False),
        "fresh scenes in styles": fresh_pictures(spec, fresh, styled=True),
        "held-out compositions": held_out_pictures(fresh, spec.size),
        "generated pictures": every,
        "generated, all right by the probe": agreed,
    }
    return {
        kind: {task: scores.to_dict() for task, scores in score_tasks(captioner, judged).items()}
        for kind, judged in kinds.items()
        if judged.scenes
    }


def captioner_table(card: dict[str, Any]) -> list[str]:
    """The card as a table in Markdown: shares of facts with 95 % intervals, by kind of picture and task."""
    lines = [
        "| pictures | captions | facts right | all right | left out | made up | length |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, tasks in card.items():
        for task, row in tasks.items():
            facts, whole = row["overall"], row["all_facts_right"]
            lines.append(
                f"| {kind} | {task} | {_share(facts)} | {_share(whole)} | {row['omission_rate']:.1%} | "
                f"{row['hallucination_rate']:.1%} | {row['characters']:.0f} |"
            )
    return lines


def _share(row: dict[str, float]) -> str:
    return f"{row['share']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
