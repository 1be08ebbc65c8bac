"""The folder of a run: log, checkpoints, learning rate."""

import json
import math
from dataclasses import dataclass

import pytest
import torch

from kolors_course.errors import CourseError
from kolors_course.training.run import RunFolder, warmup_cosine


@dataclass(frozen=True)
class Recipe:
    steps: int = 10
    widths: tuple[int, ...] = (1, 2)
    rate: float = 0.1


STEP = {"step": int}


def test_learning_rate_values():
    rates = [warmup_cosine(step, 12, 4, floor=0.1) for step in range(13)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    for step in range(4, 13):
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * (step - 4) / 8)) / 2
        assert rates[step] == pytest.approx(expected, abs=1e-12)
    assert rates[4] == 1.0
    assert rates[8] == pytest.approx(0.55)  # half way
    assert rates[12] == pytest.approx(0.1)
    assert warmup_cosine(50, 12, 4, floor=0.1) == pytest.approx(0.1)  # after the end
    assert warmup_cosine(0, 10, 0) == 1.0  # no warm-up
    assert warmup_cosine(1, 2, 20) == 0.1  # a run that ends while warming up
    assert warmup_cosine(5, 5, 5) == 1.0


def test_a_fresh_folder_has_nothing_to_resume(tmp_path):
    run = RunFolder(tmp_path / "new" / "run")
    assert run.path.is_dir()
    assert run.resume(Recipe(), STEP) is None
    assert list(run.path.iterdir()) == []


def test_a_checkpoint_comes_back(tmp_path):
    run = RunFolder(tmp_path)
    weights = torch.randn(3, generator=torch.Generator().manual_seed(0))
    run.save(Recipe(), step=7, weights=weights, losses=[(1, 0.5)])
    contents = {**STEP, "weights": torch.Tensor, "losses": list}
    state = RunFolder(tmp_path).resume(Recipe(), contents)
    assert state["step"] == 7
    assert torch.equal(state["weights"], weights)
    assert state["losses"] == [(1, 0.5)]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_lists_and_tuples_are_the_same_setting(tmp_path):
    RunFolder(tmp_path).save(Recipe(widths=[1, 2]), step=1)
    assert RunFolder(tmp_path).resume(Recipe(widths=(1, 2)), STEP)["step"] == 1


def test_other_settings_are_named(tmp_path):
    RunFolder(tmp_path).save(Recipe(), step=1)
    told = r"--base-steps: 10 in the checkpoint, 11 now; rate: 0.1 in the checkpoint, 0.2 now"
    with pytest.raises(CourseError, match=told):
        RunFolder(tmp_path).resume(Recipe(steps=11, rate=0.2), STEP, {"steps": "--base-steps"})


def test_a_setting_that_the_checkpoint_does_not_know_counts_as_different(tmp_path):
    @dataclass(frozen=True)
    class Newer(Recipe):
        momentum: float = 0.9

    RunFolder(tmp_path).save(Recipe(), step=1)
    with pytest.raises(CourseError, match="momentum"):
        RunFolder(tmp_path).resume(Newer(), STEP)


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path):
    run = RunFolder(tmp_path)
    run.save(Recipe(), step=1)
    with pytest.raises(Exception, match="pickle"):
        run.save(Recipe(), step=2, bad=lambda: 0)
    assert run.resume(Recipe(), STEP)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_log_has_one_object_a_line(tmp_path):
    run = RunFolder(tmp_path)
    run.log(1, loss=0.123456789, rate=torch.tensor(0.5))
    run.log(2, loss=1)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert (rows[0]["loss"], rows[0]["rate"]) == (0.123457, 0.5)
    assert rows[0]["seconds"] >= 0


def test_resuming_drops_the_log_of_steps_that_come_again(tmp_path):
    run = RunFolder(tmp_path)
    for step in range(1, 6):
        run.log(step, loss=step)
        if step == 3:
            run.save(Recipe(), step=step)
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 6, "los')  # killed while writing
    RunFolder(tmp_path).resume(Recipe(), STEP)
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


JUNK = {
    "a list": b"[1, 2]\n",
    "a text": b"hello\n",
    "no step": b'{"loss": 1}\n',
    "a step that is no number": b'{"step": "one"}\n',
    "values that are no numbers": b'{"step": 1, "loss": [1]}\n',
    "deep": b"[" * 100_000 + b"\n",
    "not UTF-8": b"\xff\xfe\n",
    "zeros": bytes(100),
    "something else that was cut off": b"junk" * 1000,
    "a good line after a bad one": b'{"step"\n{"step": 1}\n',
}


@pytest.mark.parametrize("what", JUNK)
def test_a_log_that_is_none_is_refused_and_kept(tmp_path, what):
    log = tmp_path / "log.jsonl"
    log.write_bytes(JUNK[what])
    with pytest.raises(CourseError, match=r"log.jsonl.*move it away") as caught:
        RunFolder(tmp_path).resume(Recipe(), STEP)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
    assert log.read_bytes() == JUNK[what]


def test_a_log_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(CourseError, match="cannot read the log"):
        RunFolder(tmp_path).resume(Recipe(), STEP)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match="cannot write"):
        RunFolder(tmp_path / "file")
