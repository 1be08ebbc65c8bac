"""Held-out pictures and stopping early."""

from dataclasses import replace

import pytest
import torch
from tiny import QUICK

from kolors_course.dataset import read_dataset
from kolors_course.errors import CourseError
from kolors_course.lora import load_lora, read_lora, unload_lora
from kolors_course.training.cache import build_cache
from kolors_course.training.lora import train_lora
from kolors_course.training.validation import BestSoFar, ValidationSettings, hold_out, validation_loss


def test_holding_out_splits_and_is_the_same_for_the_same_seed(tiny_pictures):
    dataset = read_dataset(tiny_pictures)
    train, held_out = hold_out(dataset, 0.3, 0)
    assert len(held_out) == 1
    assert {*train.samples, *held_out.samples} == {*dataset.samples}
    assert hold_out(dataset, 0.3, 0) == (train, held_out)
    assert len({hold_out(dataset, 0.3, seed)[1] for seed in range(20)}) > 1
    assert hold_out(dataset, 0.0, 0) == (dataset, replace(dataset, samples=()))
    with pytest.raises(CourseError, match="too few"):
        hold_out(dataset, 0.99, 0)


@pytest.mark.parametrize(
    "bad", [{"share": 1.0}, {"share": -0.1}, {"every": 0}, {"patience": 0}, {"patience": 2}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(CourseError, match="validation|early"):
        ValidationSettings(**bad)


def test_the_loss_is_the_same_each_time_and_does_not_depend_on_batches(tiny_model, tiny_pictures):
    cache = build_cache(tiny_model, read_dataset(tiny_pictures), (32, 32), True, True, torch.Generator())
    losses = [validation_loss(tiny_model, [cache], 2, size) for size in (4, 4, 3)]
    assert losses[0] == losses[1] == pytest.approx(losses[2], rel=1e-5)
    assert validation_loss(tiny_model, [cache], 3, 4) != losses[0]


def test_the_best_is_kept_as_a_copy():
    best, weights = BestSoFar(), {"A": torch.zeros(2)}
    for step, loss in ((1, 0.5), (2, 0.3), (3, 0.4), (4, 0.35)):
        best.update(step, loss, weights)
        weights["A"] += 1
    assert (best.step, best.loss, best.misses) == (2, 0.3, 2)
    assert best.lora["A"].tolist() == [1, 1]


def test_training_stops_early_and_keeps_the_best(tiny_model, tiny_pictures, tmp_path):
    """A learning rate so large that the first validation is the best one."""
    settings = ValidationSettings(share=0.3, every=1, timesteps=2, patience=2)
    recipe = replace(QUICK, steps=12, warmup=0, learning_rate=0.3, validation=settings, checkpoint_every=100)
    result = train_lora(tiny_model, tiny_pictures, tmp_path, recipe)
    facts = read_lora(result.path).metadata
    assert result.steps == facts["best_step"] + 2 < 12
    _, held_out = hold_out(read_dataset(tiny_pictures), 0.3, 0)
    cache = build_cache(tiny_model, held_out, (32, 32), True, False, torch.Generator(), 2)
    load_lora(tiny_model.unet, result.path)
    again = validation_loss(tiny_model, [cache], 2, 2)
    unload_lora(tiny_model.unet)
    assert again == pytest.approx(facts["validation_loss"], rel=1e-4)
    repeated = train_lora(tiny_model, tiny_pictures, tmp_path, recipe)  # nothing is left to do
    assert repeated.losses == result.losses
