"""Time to quality: seconds of training until a style LoRA is good, with our recipe and with the camp's.

    python benchmarks/quality.py                                       # about half an hour on two quiet cores
    python benchmarks/quality.py --steps 4 --every 2 --scenes 2        # only to see it run

Good means: on subjects that the data set does not show, an independent probe sees the style in 95 % of the pictures,
and names the subject in at least 85 % as many as without LoRA. Every contestant trains on the same pictures from the
same base model, at the same rank and batch size:

* camp: DiffSynth-Studio's step of the summer camp (see steps.py) with its settings: alpha 4, a constant learning rate
  of 1e-4, gaussian start, no caption dropout, no weights on timesteps.
* camp, our learning rate: the same with our learning rate and alpha, which suit the small model better.
* ours: the recipe of `kolors-course demo`, which also trains feed-forward and convolution layers.

Only training counts, with what it encodes; loading models and judging pictures do not. Writes quality.json with
commit, versions and machine, anew after every judgement.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from steps import StockTraining, camp_step
from torch import Tensor

from kolors_course.art import style_test_subjects
from kolors_course.cli.demo import SETTINGS
from kolors_course.dataset import read_dataset
from kolors_course.evaluation import evaluate, held_out_prompts, load_probe
from kolors_course.files import atomic_path
from kolors_course.kolors import KolorsModel, Profile, Sampling, current_profile, load_profile
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    load_lora_state_dict,
    lora_state_dict,
    unload_lora,
)
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.platform.paths import data_dir
from kolors_course.platform.provenance import provenance
from kolors_course.training.data import encode_training_data
from kolors_course.training.distributed import make_accelerator
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.run import RunFolder
from kolors_course.training.trainer import LoraTrainer

RANK = 16
CAMP_ALPHA, CAMP_LEARNING_RATE = 4.0, 1e-4
STYLE_GOAL, SUBJECT_GOAL = 0.95, 0.85
GUIDANCE = 5.0


@dataclass(frozen=True)
class Contestant:
    """A training run that can be advanced step by step.

    Attributes:
        settings: of its LoRA.
        prepare: what is done once, before the first step, and counts as training.
        step: one step of the optimizer.
        lora: the tensors of the LoRA as they are now.
    """

    settings: LoraSettings
    prepare: Callable[[], None]
    step: Callable[[], float]
    lora: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Judgement:
    """What the probe saw: shares of pictures in the style, and of subjects named rightly."""

    style: float
    subject: float


def camp(profile: Profile, dataset: Path, recipe: LoraTraining) -> Contestant:
    """The camp's step; its U-Net, text encoder and VAE are stock ones and work in every step."""
    training = StockTraining(profile, dataset, recipe)
    step = camp_step(training)
    return Contestant(recipe.settings, lambda: None, step, lambda: lora_state_dict(training.unet))


def ours(profile: Profile, dataset: Path, recipe: LoraTraining, folder: Path) -> Contestant:
    """Our trainer; encoding the data set counts as training."""
    model = load_profile(profile)
    trainers: list[LoraTrainer] = []

    def prepare() -> None:
        data = encode_training_data(model, read_dataset(dataset), None, recipe)
        accelerator = make_accelerator(recipe, model.device)
        trainers.append(LoraTrainer(model, recipe, data, RunFolder(folder), accelerator, {}))

    return Contestant(
        recipe.settings, prepare, lambda: trainers[0].train_step(), lambda: trainers[0].result()
    )


def contestants(
    profile: Profile, dataset: Path, steps: int, folder: Path
) -> Iterator[tuple[str, Callable[[], Contestant]]]:
    """Names, and what makes each one ready, so that only one is in memory at a time."""
    recipe = LoraTraining(
        steps=steps,
        batch_size=profile.batch_size,
        learning_rate=profile.learning_rate,
        settings=LoraSettings(RANK, float(RANK)),
    )
    settings = replace(recipe.settings, alpha=CAMP_ALPHA)
    camps = replace(recipe, learning_rate=CAMP_LEARNING_RATE, settings=settings)
    yield "ours", lambda: ours(profile, dataset, replace(recipe, settings=SETTINGS), folder)
    yield "camp, our learning rate", lambda: camp(profile, dataset, recipe)
    yield "camp", lambda: camp(profile, dataset, camps)


class Judge:
    """Draws held-out prompts with a LoRA and lets the probe look."""

    def __init__(self, profile: Profile, style: str, scenes: int):
        self.model: KolorsModel = load_profile(profile)
        self.style = style
        self.probe = load_probe(data_dir() / "probes" / "probe.safetensors")
        self.prompts = held_out_prompts(scenes, style_test_subjects())
        self.sampling = Sampling(25, GUIDANCE, batch_size=16)

    def base(self) -> Judgement:
        """Of the model without LoRA."""
        scores = evaluate(self.model, self.probe, self.prompts, self.sampling).scores(self.style)
        return Judgement(scores.style, scores.accuracy["subject"])

    def __call__(self, settings: LoraSettings, state: dict[str, Tensor]) -> Judgement:
        unet = self.model.unet
        add_lora(unet, settings, generator=torch.Generator())
        try:
            load_lora_state_dict(unet, state)
            return self.base()
        finally:
            unload_lora(unet)


def time_to_quality(
    contestant: Contestant,
    judge: Callable[[LoraSettings, dict[str, Tensor]], Judgement],
    base: Judgement,
    steps: int,
    every: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[dict[str, Any]]:
    """Train and judge every `every` steps, until good or out of steps; yields each judgement.

    The seconds are those of training alone. The last one yielded says whether it is good.
    """
    started = clock()
    contestant.prepare()
    seconds = clock() - started
    for step in range(every, steps + 1, every):
        started = clock()
        for _ in range(every):
            contestant.step()
        seconds += clock() - started
        seen = judge(contestant.settings, contestant.lora())
        good = seen.style >= STYLE_GOAL and seen.subject >= SUBJECT_GOAL * base.subject
        yield {"step": step, "seconds": round(seconds, 1), **vars(seen), "good": good}
        if good:
            return


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """How many times as long as ours each contestant took; at least so many, where it never got there."""
    ours = results["ours"][-1]
    words = {}
    for name, rows in results.items():
        last = rows[-1]
        if not ours["good"]:
            words[name] = "ours did not get there"
        else:
            ratio = f"{last['seconds'] / ours['seconds']:.2f} times ours"
            words[name] = ratio if last["good"] else f"not good after {ratio}"
    return words


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--style", default="paper-cut", help="data set to learn (default %(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="at most (default %(default)s)")
    parser.add_argument(
        "--every", type=int, default=50, help="steps between judgements (default %(default)s)"
    )
    parser.add_argument(
        "--scenes", type=int, default=40, help="scenes judged, twice each (default %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("quality.json"))
    arguments = parser.parse_args()
    limit_threads()
    profile = current_profile()
    judge = Judge(profile, arguments.style, arguments.scenes)
    base = judge.base()
    values = f"--style {arguments.style} --steps {arguments.steps} --every {arguments.every}"
    report = {
        "command": f"python benchmarks/quality.py {values} --scenes {arguments.scenes}",
        **provenance(pick_device()),
        "goal": {"style": STYLE_GOAL, "share of the base's subjects": SUBJECT_GOAL},
        "base": vars(base),
    }
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = data_dir() / "datasets" / arguments.style
        for name, make in contestants(profile, dataset, arguments.steps, Path(folder)):
            results[name] = []
            for row in time_to_quality(make(), judge, base, arguments.steps, arguments.every):
                results[name].append(row)
                print(name, row, flush=True)
                with atomic_path(arguments.output) as path:
                    text = json.dumps({**report, "results": results}, indent=2)
                    path.write_text(text + "\n", encoding="utf-8")
    report["summary"] = summary(results)
    with atomic_path(arguments.output) as path:
        path.write_text(json.dumps({**report, "results": results}, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"{name}: {words}" for name, words in report["summary"].items()))


if __name__ == "__main__":
    main()
