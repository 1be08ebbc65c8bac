"""The exercises of notebook 09: right answers pass, and each likely mistake gets its own explanation."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from tiny import QUICK

from kolors_course.exercises import Right, lora_training
from kolors_course.lora import lora_scale
from kolors_course.training.lora import epoch_rows, train_lora
from kolors_course.training.validation import ValidationSettings


def test_the_librarys_scale_passes():
    assert "0.25" in lora_training.check_lora_scale.reply(lora_scale)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (lambda rank, alpha: rank / alpha, "upside down"),
        (lambda rank, alpha: alpha, "rank is left out"),
        (lambda rank, alpha: alpha / math.sqrt(rank), "rsLoRA"),
        (lambda rank, alpha: rank * alpha, "product"),
        (lambda rank, alpha: alpha / (rank + 1), r"For \(16, 4\) the answer is 0.2353; right is 0.25"),
        (lambda rank, alpha: None, "gives back None"),
    ],
)
def test_wrong_scales_are_explained(scale, message):
    assert re.search(message, lora_training.check_lora_scale.reply(scale))


@pytest.mark.parametrize(
    ("answer", "message"),
    [(0.5, "twice as bad"), (0.25, "trained scale itself"), (3, "it gives 0.375"), ("2", "not a number")],
)
def test_wrong_repairs_are_explained(answer, message):
    assert re.search(
        message, lora_training.check_repair_strength.reply(answer, rank=16, trained_alpha=4, loaded_alpha=2)
    )


def test_the_right_repair_passes():
    assert isinstance(
        lora_training.check_repair_strength.reply(2, rank=16, trained_alpha=4, loaded_alpha=2), Right
    )


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (lambda pictures, batch, epochs, accumulation: 500 * epochs, "500 steps an epoch"),
        (lambda pictures, batch, epochs, accumulation: pictures * epochs, "counts pictures"),
        (
            lambda pictures, batch, epochs, accumulation: math.ceil(pictures * epochs / batch),
            "counts batches",
        ),
        (
            lambda pictures, batch, epochs, accumulation: pictures * epochs // (batch * accumulation),
            "leaves out the last 2 pictures",
        ),
        (
            lambda pictures, batch, epochs, accumulation: pictures * epochs / (batch * accumulation),
            "no such thing as 6.25 steps",
        ),
        (lambda pictures, batch, epochs, accumulation: 7, "7 steps draw 56 pictures, but 960"),
        (lambda pictures, batch, epochs, accumulation: None, "not a number"),
    ],
)
def test_wrong_step_counts_are_explained(steps, message):
    assert re.search(message, lora_training.check_steps_for_epochs.reply(steps))


def test_the_right_step_count_passes():
    assert isinstance(lora_training.check_steps_for_epochs.reply(lora_training.steps_for_epochs), Right)


@pytest.mark.parametrize(("pictures", "batch_size", "epochs"), [(48, 8, 2), (7, 3, 2), (5, 8, 1)])
def test_the_trainer_draws_every_picture_that_often(pictures, batch_size, epochs):
    steps = lora_training.steps_for_epochs(pictures, batch_size, epochs)
    drawn = torch.cat([epoch_rows(pictures, batch_size, 0, step) for step in range(steps)])
    assert drawn.bincount(minlength=pictures).min() >= epochs
    one_less = torch.cat(
        [epoch_rows(pictures, batch_size, 0, step) for step in range(steps - 1)] or [drawn[:0]]
    )
    assert one_less.bincount(minlength=pictures).min() < epochs


def stopping(improves, extra=0):
    return lambda losses, patience: lora_training._stop(losses, patience + extra, improves)


def test_the_right_stop_passes():
    assert isinstance(lora_training.check_early_stop.reply(lora_training.early_stop), Right)
    better = stopping(lambda i, loss, lowest: loss < lowest)
    assert isinstance(lora_training.check_early_stop.reply(better), Right)


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (lambda losses, patience: (losses.index(min(losses)), len(losses) - 1), "Nothing stops"),
        (
            lambda losses, patience: lora_training._stop(
                losses, patience, lambda i, loss, low: i == 0 or loss < losses[i - 1]
            ),
            "compared with the one before",
        ),
        (stopping(lambda i, loss, lowest: loss <= lowest), "equal loss is not a better one"),
        (stopping(lambda i, loss, lowest: loss < lowest, 1), "One too late"),
        (lambda losses, patience: lora_training.early_stop(losses, patience)[::-1], "changed places"),
        (lambda losses, patience: 3, "Return 2 tensors"),
        (lambda losses, patience: (0, 0), "right is 2, 5"),
    ],
)
def test_wrong_stops_are_explained(stop, message):
    assert re.search(message, lora_training.check_early_stop.reply(stop))


def test_the_trainer_stops_there(tiny_model, tiny_pictures, tmp_path):
    validation = ValidationSettings(share=0.25, every=1, timesteps=1, patience=2)
    recipe = replace(QUICK, steps=12, learning_rate=0.3, validation=validation)
    result = train_lora(tiny_model, tiny_pictures, tmp_path / "run", recipe)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [row["validation_loss"] for row in rows]
    _, stopped = lora_training.early_stop(losses, 2)
    assert len(losses) == stopped + 1 == result.steps
    assert stopped + 1 < 12
