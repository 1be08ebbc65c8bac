"""Logs beside log.jsonl."""

import csv
from dataclasses import replace

import pytest
from tiny import QUICK, stop_at

from kolors_course.errors import CourseError
from kolors_course.training.logs import check_loggers, write_csv
from kolors_course.training.lora import RunOptions, train_lora
from kolors_course.training.run import RunFolder
from kolors_course.training.validation import ValidationSettings


def test_the_csv_log_has_a_column_for_everything(tiny_model, tiny_pictures, tmp_path):
    recipe = replace(QUICK, validation=ValidationSettings(share=0.3, every=2))
    options = RunOptions(loggers=("csv",))
    result = train_lora(tiny_model, tiny_pictures, tmp_path, recipe, options=options)
    with (tmp_path / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["loss"]) for row in rows] == pytest.approx(
        [loss for _, loss in result.losses], abs=1e-6
    )
    assert [bool(row["validation_loss"]) for row in rows] == [False, True, False, True]
    assert float(rows[0]["learning_rate"]) == pytest.approx(5e-3)


def test_an_empty_log_is_an_empty_table(tmp_path):
    write_csv(RunFolder(tmp_path).path / "log.jsonl", tmp_path / "log.csv")
    assert (tmp_path / "log.csv").read_text(encoding="utf-8").strip() == ""


def test_loggers_that_cannot_run_are_refused_before_anything_is_written(
    tiny_model, tiny_pictures, tmp_path, monkeypatch
):
    import kolors_course.training.logs as module

    monkeypatch.setattr(module, "get_available_trackers", list)
    with pytest.raises(CourseError, match="pip install tensorboard"):
        train_lora(
            tiny_model, tiny_pictures, tmp_path / "run", QUICK, options=RunOptions(loggers=("tensorboard",))
        )
    assert not (tmp_path / "run").exists()
    with pytest.raises(CourseError, match="'paper' is not one of"):
        check_loggers(["csv", "paper"])


def test_trackers_receive_every_step_and_are_closed(tiny_model, tiny_pictures, tmp_path, monkeypatch):
    import kolors_course.training.logs as module

    seen = []

    class Tracker:
        name = "tensorboard"

        def __init__(self, name, **options):
            seen.append((name, options))

        def start(self):
            seen.append("start")

        def log(self, values, step):
            seen.append((step, sorted(values)))

        def log_images(self, values, step, **options):
            seen.append((step, values["samples"].shape, options))

        def finish(self):
            seen.append("finish")

    monkeypatch.setattr(module, "get_available_trackers", lambda: ["tensorboard"])
    monkeypatch.setitem(module.LOGGER_TYPE_TO_CLASS, "tensorboard", Tracker)
    recipe = replace(QUICK, steps=2, sample_prompts=("a cat", "a dog"), sample_every=2)
    options = RunOptions(loggers=("tensorboard",))
    train_lora(tiny_model, tiny_pictures, tmp_path, recipe, options=options)
    names = ["learning_rate", "loss"]
    created = ("tensorboard", {"logging_dir": tmp_path, "purge_step": 1})
    sheet = ((1, 32, 64, 3), {"dataformats": "NHWC"})
    assert seen == [created, "start", (0, *sheet), (1, names), (2, names), (2, *sheet), "finish"]


def test_a_real_tensorboard_holds_numbers_and_pictures_and_no_step_twice(tiny_model, tiny_pictures, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recipe = replace(QUICK, sample_prompts=("a cat",), sample_every=2)
    options = RunOptions(loggers=("tensorboard",))
    with pytest.raises(KeyboardInterrupt):
        train_lora(tiny_model, tiny_pictures, tmp_path, recipe, options=options, progress=stop_at(3))
    result = train_lora(tiny_model, tiny_pictures, tmp_path, recipe, options=options)
    board = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    losses = {event.step: event.value for event in board.Scalars("loss")}
    assert losses == pytest.approx(dict(result.losses), rel=1e-6)
    assert len(board.Scalars("loss")) == 4
    assert [event.step for event in board.Images("samples")] == [0, 2, 4]
