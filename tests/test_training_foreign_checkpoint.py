"""A checkpoint that is whole but holds other things than a LoRA training run's is one line from its first use on."""

import pytest

from kolors_course.errors import CourseError
from kolors_course.training.checkpoint import write_checkpoint
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.resume import DECIDED, precision_of, resume
from kolors_course.training.run import CHECKPOINT, RunFolder

STATE = {
    "config": {"precision": "auto"},
    "origin": {},
    "precision": next(iter(DECIDED)),
    "lora": {},
    "optimizer": None,
    "average": None,
    "scaler": None,
    "best": {},
    "step": 1,
    "losses": [0.5],
}


@pytest.mark.parametrize(
    "change", [{"config": {}}, {"config": {1: 2}}, {"precision": "x"}, {"precision": ""}]
)
def test_its_precision(tmp_path, change):
    write_checkpoint(tmp_path / CHECKPOINT, STATE | change)
    with pytest.raises(CourseError, match="remove it to start anew"):
        precision_of(LoraTraining(precision="auto"), tmp_path)


@pytest.mark.parametrize("change", [{}, {"origin": {1: 2}}, {"losses": []}])
def test_its_origin_and_losses(tmp_path, change):
    run = RunFolder(tmp_path)
    write_checkpoint(run.checkpoint, STATE | change)
    with pytest.raises(CourseError, match="remove it to start anew"):
        resume(run, LoraTraining(), {})
