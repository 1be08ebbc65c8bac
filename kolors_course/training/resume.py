"""What decides the result of a LoRA training run: kept in its checkpoint, compared with what is asked for later."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from kolors_course.dataset import Dataset
from kolors_course.dataset.layouts import mask_file
from kolors_course.dataset.reader import sample_hashes
from kolors_course.kolors.model import KolorsModel
from kolors_course.training.checkpoint import read_checkpoint, restoring
from kolors_course.training.differences import Difference, differing_pictures, differing_settings, refuse
from kolors_course.training.names import FLAGS
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.run import CHECKPOINT, RunFolder
from kolors_course.training.store import content_key

NONE = type(None)
# What the checkpoint of a LoRA training holds.
CONTENTS: dict[str, type | tuple[type, ...]] = {
    "origin": dict,
    "precision": str,
    "lora": dict,
    "optimizer": (dict, NONE),
    "average": (dict, NONE),
    "scaler": (dict, NONE),
    "best": dict,
    "step": int,
    "losses": list,
}
# Settings that change nothing of what is learned, so that a resumed run may have others; precision has its own rule.
FREE = ("checkpoint_every", "save_every", "sample_every", "sample_prompts", "precision")
DECIDED = {"no": "32", "bf16": "bf16", "fp16": "16-mixed"}  # accelerate's name -> ours


def origin_of(
    model: KolorsModel,
    recipe: LoraTraining,
    dataset: Dataset,
    prior: Dataset | None,
    pretrained: dict[str, Tensor] | None,
    processes: int,
) -> dict[str, Any]:
    """What besides the recipe decides the result; the base model's weights come later, when they are loaded."""
    masks = recipe.data.masks
    return {
        "model": model.name,
        "quantize": model.quantization,
        "data": picture_hashes(dataset, masks),
        "prior": picture_hashes(prior, masks) if prior else None,
        "pretrained": content_key(*(pretrained[name] for name in sorted(pretrained))) if pretrained else None,
        "processes": processes,
    }


def picture_hashes(dataset: Dataset, masks: bool) -> list[tuple[str, str, str, str, str]]:
    """Of each picture, in order: its name, hashes of its file, caption and mask (if masks count), its repeats."""
    entries = []
    for sample, (picture, caption) in zip(dataset.samples, sample_hashes(dataset), strict=True):
        mask = mask_file(sample.path)
        hashed = content_key(mask.read_bytes()) if masks and mask.is_file() else ""
        name = os.path.relpath(sample.path, dataset.folder).replace(os.sep, "/")
        entries.append((name, picture, caption, hashed, str(sample.repeats)))
    return entries


def resume(run: RunFolder, recipe: LoraTraining, origin: dict[str, Any]) -> dict[str, Any] | None:
    """The checkpoint of `run`, or None on a fresh start. Log lines of steps that come again are dropped.

    Raises:
        CourseError: see `read_checkpoint` and `RunFolder.cut_log`; or the run differs from the one that wrote it, in
            what is then named.
    """
    state = read_checkpoint(run.checkpoint, CONTENTS)
    if state:
        with restoring(run.checkpoint):
            if state["step"] and not state["losses"]:
                raise ValueError("it holds no losses")
            settings = differing_settings(state["config"], asdict(recipe), FLAGS, FREE)
            told = [
                *settings,
                *_differing_precision(state, recipe),
                *_differing_origin(state["origin"], origin),
            ]
        refuse(run.checkpoint, told)
    run.cut_log(state["step"] if state else 0)
    return state


def check_weights(run: RunFolder, state: dict[str, Any] | None, weights: str) -> None:
    """Refuse to resume on other weights of a base model of the same name.

    Raises:
        CourseError: they are others.
    """
    if state and state["origin"].get("weights") != weights:
        refuse(
            run.checkpoint, [Difference("--model", "the same name as in the checkpoint, but other weights")]
        )


def precision_of(recipe: LoraTraining, folder: Path) -> str:
    """The precision of a run in `folder`, one of `PRECISIONS`: what "auto" means is decided once for each run.

    Raises:
        CourseError: see `read_checkpoint`.
    """
    if recipe.precision != "auto" or not (state := read_checkpoint(folder / CHECKPOINT, CONTENTS)):
        return recipe.precision
    with restoring(folder / CHECKPOINT):
        before = state["config"]["precision"]
        return DECIDED[state["precision"]] if before == "auto" else before


def _differing_precision(state: dict[str, Any], recipe: LoraTraining) -> Iterator[Difference]:
    before, now = state["config"]["precision"], recipe.precision
    decided = DECIDED[state["precision"]]
    if now not in ("auto", before, decided):
        yield Difference.of(FLAGS["precision"], decided, now)


def _differing_origin(before: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    for name in ("model", "quantize", "processes"):
        if before[name] != now[name]:
            yield Difference.of(FLAGS[name], before[name], now[name])
    for name in ("data", "prior"):
        if told := differing_pictures(before[name] or (), now[name] or ()):
            yield Difference(FLAGS[name], told)
    if before["pretrained"] != now["pretrained"]:
        files = [
            hashed and "a file with other contents" for hashed in (before["pretrained"], now["pretrained"])
        ]
        yield Difference.of(FLAGS["pretrained"], *files)
