"""What captions do to a style LoRA: one set of pictures, captioned in five ways.

    python benchmarks/captions.py --cells 1    # one more cell; again until all are there
    python benchmarks/captions.py              # all that are missing

48 paper-cuts, of which three in four stand in one place, `COMMON`; the pictures, the recipe and the seed are the same
in every cell, only the captions differ:

* one word: «二次元» for every picture, as the camp has it
* label: the bare facts, "rabbit, snow, night"
* detailed: a sentence with the layout, "a picture of a rabbit on the left, in the snow at night"
* style word: the same, ", paper-cut style" behind it
* wrong: the detailed ones, but each fifth tells of another scene

Each LoRA draws the same held-out prompts: of subjects that no style set shows, in scenes that no training picture
shows, both languages. A LoRA that was taught a word is asked a second time with it. *Leakage* is the share of
pictures that the probe sees in `COMMON`: where the prompt names no place, and where it names another.

Training pictures, LoRAs and cells lie in --work; an interrupted run goes on there. The result, with commit, versions
and machine, is data/lessons/07/captions.json, and pictures of each cell are beside it.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from kolors_course.art import (
    LANGUAGES,
    Scene,
    caption,
    draw_scene,
    render,
    style_test_subjects,
    style_train_subjects,
)
from kolors_course.art.captions import in_style, with_article
from kolors_course.cli.demo import SETTINGS
from kolors_course.dataset import write_dataset
from kolors_course.evaluation import HeldOutPrompt, evaluate, held_out_prompts, load_probe
from kolors_course.evaluation.fidelity import shape_fidelity
from kolors_course.evaluation.intervals import mean_interval, wilson
from kolors_course.evaluation.probes import agreement
from kolors_course.files import atomic_path
from kolors_course.kolors import KolorsModel, load_profile, profiles
from kolors_course.lora import load_lora, unload_lora
from kolors_course.platform.device import limit_threads
from kolors_course.platform.paths import REPOSITORY, data_dir
from kolors_course.platform.provenance import provenance
from kolors_course.training.lora import LoraTraining, train_lora

STYLE, COMMON = "paper-cut", "city"
PICTURES, IN_COMMON = 48, 36
WORD = "二次元"
WRONG_EVERY = 5
QUESTIONS = ("subject", "place", "time")
SHOWN = 6  # pictures of a cell that are kept


def training_scenes(seed: int) -> list[Scene]:
    """Scenes that a style set may show, `IN_COMMON` of them in the common place, mixed."""
    rng = np.random.default_rng(seed)
    wanted = rng.permutation(PICTURES) < IN_COMMON
    scenes = []
    for common in wanted:
        while True:
            scene = draw_scene(rng, pool=style_train_subjects())
            if (scene.place == COMMON) == common:
                break
        scenes.append(scene)
    return scenes


def _detailed(scene: Scene, language: str, rng: np.random.Generator) -> str:
    return caption(scene, language, "detailed", rng)


@dataclass(frozen=True)
class Arm:
    """A way of writing captions, and how what it taught is called, if it taught a word."""

    write: Callable[[Scene, str, np.random.Generator], str]
    call: Callable[[str, str], str] | None = None
    wrong: bool = False


ARMS = {
    "one word": Arm(lambda scene, language, rng: WORD, lambda text, language: f"{WORD}，{text}"),
    "label": Arm(lambda scene, language, rng: caption(scene, language, "label", rng)),
    "detailed": Arm(_detailed),
    "style word": Arm(
        lambda scene, language, rng: in_style(_detailed(scene, language, rng), language, STYLE),
        lambda text, language: in_style(text, language, STYLE),
    ),
    "wrong": Arm(_detailed, wrong=True),
}


def captions_of(arm: Arm, scenes: Sequence[Scene], seed: int) -> list[str]:
    """A caption for each scene, the languages in turn; of a wrong one, that of another scene."""
    rng = np.random.default_rng([seed, 1])
    told = list(scenes)
    if arm.wrong:
        for i in range(0, len(scenes), WRONG_EVERY):
            told[i] = draw_scene(rng, pool=style_train_subjects())
    return [arm.write(scene, LANGUAGES[i % 2], rng) for i, scene in enumerate(told)]


def placeless_prompts() -> list[HeldOutPrompt]:
    """Each test subject asked for with nothing around it; the languages in turn."""
    prompts = []
    for i, subject in enumerate(style_test_subjects()):
        language = LANGUAGES[i % 2]
        text = f"一{subject.classifier}{subject.zh}" if language == "zh" else with_article(subject.en)
        # Where it stands is not asked, so that this scene says nothing but who.
        prompts.append(HeldOutPrompt(Scene((subject,), "meadow", "day"), language, text, 20_000 + i))
    return prompts


class Judge:
    """Draws test prompts with the model as it is, and counts what the probe sees."""

    def __init__(self, model: KolorsModel, scenes: int):
        self.model = model
        self.probe = load_probe(data_dir() / "probes" / "probe.safetensors")
        self.prompts = held_out_prompts(scenes, style_test_subjects())
        self.placeless = placeless_prompts()

    def facts(
        self, call: Callable[[str, str], str] | None = None
    ) -> tuple[dict[str, Any], list[Image.Image]]:
        """Shares with their intervals, and the pictures."""
        asked = [
            HeldOutPrompt(p.scene, p.language, call(p.prompt, p.language), p.seed) if call else p
            for p in self.prompts
        ]
        made = evaluate(self.model, self.probe, asked)
        answers = [agreement(p.scene, v) for p, v in zip(asked, made.verdicts, strict=True)]
        shares = {q: _share([a[q] for a in answers if q in a]) for q in QUESTIONS}
        shares["style"] = _share([v.style == STYLE for v in made.verdicts])
        elsewhere = [
            v.place == COMMON for p, v in zip(asked, made.verdicts, strict=True) if p.scene.place != COMMON
        ]
        shares["leak elsewhere"] = _share(elsewhere)
        matches = [
            match.value
            for p, picture in zip(asked, made.pictures, strict=True)
            for match in shape_fidelity(picture, p.scene, STYLE)
        ]
        shares["fidelity"] = asdict(mean_interval(matches))
        return shares, list(made.pictures)

    def leakage(
        self, call: Callable[[str, str], str] | None = None
    ) -> tuple[dict[str, Any], list[Image.Image]]:
        """How often the common place appears where no place is named."""
        asked = [
            HeldOutPrompt(p.scene, p.language, call(p.prompt, p.language), p.seed) if call else p
            for p in self.placeless
        ]
        made = evaluate(self.model, self.probe, asked)
        return {
            "leak unasked": _share([v.place == COMMON for v in made.verdicts]),
            "style unasked": _share([v.style == STYLE for v in made.verdicts]),
        }, list(made.pictures)

    def judge(
        self, call: Callable[[str, str], str] | None = None
    ) -> tuple[dict[str, Any], list[Image.Image]]:
        """Both, and half the pictures kept of each."""
        facts, pictures = self.facts(call)
        leakage, bare = self.leakage(call)
        return facts | leakage, [*pictures[1:SHOWN:2], *bare[: SHOWN // 2]]


def _share(right: Sequence[bool]) -> dict[str, Any]:
    return asdict(wilson(sum(right), len(right)))


def _strip(pictures: Sequence[Image.Image]) -> Image.Image:
    side = pictures[0].width
    strip = Image.new("RGB", (side * len(pictures), side))
    for i, picture in enumerate(pictures):
        strip.paste(picture, (i * side, 0))
    return strip


def run_cell(judge: Judge, name: str, seed: int, steps: int, work: Path) -> None:
    """Train (but for the base model), judge, and keep the numbers and pictures of one cell in `work`."""
    cell = work / f"{name.replace(' ', '-')}-{seed}"
    cell.mkdir(parents=True, exist_ok=True)
    model, arm, result = judge.model, ARMS.get(name), {}
    if arm:
        dataset = cell / "dataset"
        if not dataset.exists():
            scenes = training_scenes(seed)
            captions = captions_of(arm, scenes, seed)
            write_dataset(
                dataset, ((render(s, 128, STYLE), c) for s, c in zip(scenes, captions, strict=True))
            )
        recipe = LoraTraining(steps=steps, settings=SETTINGS, seed=seed, checkpoint_every=50)
        lora = train_lora(model, dataset, cell / "lora", recipe, command="benchmarks/captions.py")
        load_lora(model.unet, lora.path)
    try:
        result["plain"], pictures = judge.judge()
        _strip(pictures).save(cell / "plain.png")
        if arm and arm.call:
            result["called"], pictures = judge.judge(arm.call)
            _strip(pictures).save(cell / "called.png")
    finally:
        if arm:
            unload_lora(model.unet)
    with atomic_path(cell / "cell.json") as path:
        path.write_text(json.dumps({"arm": name, "seed": seed, **result}), encoding="utf-8")


def report(work: Path, cells: Sequence[tuple[str, int]], facts: dict[str, Any], output: Path) -> int:
    """Write what is there into `output`; how many cells are."""
    rows, strips = [], []
    for name, seed in cells:
        cell = work / f"{name.replace(' ', '-')}-{seed}"
        if (cell / "cell.json").is_file():
            rows.append(json.loads((cell / "cell.json").read_text(encoding="utf-8")))
            strips += [
                (f"{name}, {kind}", Image.open(cell / f"{kind}.png"))
                for kind in ("plain", "called")
                if seed == cells[0][1] and (cell / f"{kind}.png").is_file()
            ]
    with atomic_path(output) as path:
        told = {**facts, "rows of the picture": [name for name, _ in strips], "cells": rows}
        path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if strips:
        width, side = strips[0][1].size
        sheet = Image.new("RGB", (width, side * len(strips)))
        for i, (_, strip) in enumerate(strips):
            sheet.paste(strip, (0, i * side))
        with atomic_path(output.with_suffix(".png")) as path:
            sheet.quantize(256).save(path, format="PNG", optimize=True)
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=120, help="of training (default %(default)s)")
    parser.add_argument(
        "--scenes", type=int, default=40, help="asked for in both languages (default %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="training sets and runs per arm (default %(default)s)"
    )
    parser.add_argument("--cells", type=int, help="at most so many that are missing; default all")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "outputs" / "captions")
    parser.add_argument("--output", type=Path, default=data_dir() / "lessons" / "07" / "captions.json")
    arguments = parser.parse_args()
    limit_threads()
    cells = [
        (name, seed)
        for seed in range(arguments.seeds)
        for name in (*ARMS, "base model")
        if seed == 0 or name in ARMS
    ]
    missing = [
        c for c in cells if not (arguments.work / f"{c[0].replace(' ', '-')}-{c[1]}" / "cell.json").is_file()
    ]
    model = load_profile(profiles.current_profile("mini"))
    judge = Judge(model, arguments.scenes)
    for name, seed in missing[: arguments.cells]:
        run_cell(judge, name, seed, arguments.steps, arguments.work)
        print(name, seed, flush=True)
    facts = {
        "command": f"python benchmarks/captions.py --steps {arguments.steps} --scenes {arguments.scenes} "
        f"--seeds {arguments.seeds}",
        **provenance(torch.device("cpu")),
        "style": STYLE,
        "common place": COMMON,
        "share of the common place": IN_COMMON / PICTURES,
    }
    print(report(arguments.work, cells, facts, arguments.output), "of", len(cells), "cells")


if __name__ == "__main__":
    main()
