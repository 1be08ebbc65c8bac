"""Optimizers, learning-rate schedules, the moving average and what packages they need."""

import sys
import types
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import QUICK, train_interrupted

from kolors_course.errors import CourseError
from kolors_course.training.lora import train_lora
from kolors_course.training.optimizers import (
    OPTIMIZERS,
    OptimizerSettings,
    evaluation_weights,
    learning_rate_factor,
    optimizer_class,
)
from kolors_course.training.run import warmup_cosine


def test_learning_rate_schedules():
    for schedule in ("cosine", "linear", "constant"):
        assert [learning_rate_factor(schedule, step, 12, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
        assert learning_rate_factor(schedule, 4, 12, 4) == 1.0
    for step in range(13):
        assert learning_rate_factor("cosine", step, 12, 4) == warmup_cosine(step, 12, 4, 0.05)
    assert learning_rate_factor("constant", 12, 12, 4) == 1.0
    assert learning_rate_factor("linear", 8, 12, 4) == pytest.approx(0.525)
    assert learning_rate_factor("linear", 12, 12, 4) == pytest.approx(0.05)


@pytest.mark.parametrize("bad", [{"name": "sgdx"}, {"schedule": "square"}])
def test_unknown_names_are_refused(bad):
    with pytest.raises(CourseError, match="is not one of"):
        OptimizerSettings(**bad)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "adamw"])
def test_a_missing_package_is_told_before_anything_is_written(
    monkeypatch, tiny_model, tiny_pictures, tmp_path, name
):
    monkeypatch.setitem(sys.modules, OPTIMIZERS[name][0].split(".")[0], None)
    recipe = replace(QUICK, optimizer=OptimizerSettings(name=name))
    with pytest.raises(CourseError, match="pip install"):
        train_lora(tiny_model, tiny_pictures, tmp_path / "run", recipe)
    assert not (tmp_path / "run").exists()


class AwayFromHome(torch.optim.SGD):
    """Like a schedule-free optimizer: trains away from what it recommends, and loses a bit on the way there."""

    def __init__(self, parameters, lr, weight_decay):
        super().__init__(parameters, lr=lr)
        self.training = False

    def _move(self, training: bool) -> None:
        if self.training != training:
            for parameter in self.param_groups[0]["params"]:
                parameter.data = (parameter.data + 1) / 0.7 if training else 0.7 * parameter.data - 1
        self.training = training

    def train(self):
        self._move(True)

    def eval(self):
        self._move(False)

    def step(self, closure=None):
        assert self.training
        return super().step(closure)


def test_a_schedule_free_optimizer_saves_what_it_recommends(monkeypatch, tiny_model, tiny_pictures, tmp_path):
    module = types.ModuleType("schedulefree")
    module.AdamWScheduleFree = AwayFromHome
    monkeypatch.setitem(sys.modules, "schedulefree", module)
    assert optimizer_class("adamw-schedule-free") is AwayFromHome
    settings = OptimizerSettings(name="adamw-schedule-free", schedule="constant")
    recipe = replace(QUICK, steps=1, learning_rate=1e-9, optimizer=settings, warmup=0)
    state = load_file(train_lora(tiny_model, tiny_pictures, tmp_path, recipe).path)
    assert all(tensor.abs().max() < 1e-3 for name, tensor in state.items() if "lora_B" in name)


def test_looking_at_the_recommended_weights_leaves_no_trace():
    parameter = torch.nn.Parameter(torch.zeros(1000))
    optimizer = AwayFromHome([parameter], 0.1, 0.0)
    optimizer.train()
    torch.nn.init.uniform_(parameter)  # where a step has led
    before = parameter.detach().clone()
    with evaluation_weights(optimizer):
        assert not torch.equal(parameter, before)
    assert torch.equal(parameter, before)
    optimizer.eval()
    optimizer.train()
    assert not torch.equal(parameter, before)  # so this test could fail


def test_other_optimizers_have_one_set_of_weights():
    parameter = torch.nn.Parameter(torch.ones(2))
    with evaluation_weights(torch.optim.AdamW([parameter])):
        assert parameter.tolist() == [1, 1]


def test_the_average_lags_behind_and_resumes_bit_for_bit(tiny_model, tiny_pictures, tmp_path, quick):
    recipe = replace(QUICK, ema_decay=0.9)

    whole = train_lora(tiny_model, tiny_pictures, tmp_path / "whole", recipe)
    parts = train_interrupted(tiny_model, tiny_pictures, tmp_path / "parts", recipe)
    assert whole.losses == parts.losses == quick.losses  # the average does not change the training
    averaged, resumed, last = (load_file(path) for path in (whole.path, parts.path, quick.path))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in averaged.items())
    moved = [name for name in last if "lora_B" in name]  # from zero
    assert sum(float(averaged[name].norm()) for name in moved) < sum(
        float(last[name].norm()) for name in moved
    )
