"""Checkpoints: sealed, and refused in one line when they are anything else than what was written."""

import builtins
import io
import zipfile
from pathlib import Path

import pytest
import torch
from command_line import command, refused, tree
from tiny import QUICK

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.training.checkpoint import read_checkpoint, restoring, write_checkpoint
from kolors_course.training.lora import train_lora

CONTENTS = {"weights": torch.Tensor}


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"config": {"steps": 1}, "weights": torch.arange(1000.0)})
    return path


def test_other_programs_read_a_sealed_checkpoint(checkpoint):
    state = torch.load(checkpoint, weights_only=True)
    assert torch.equal(state["weights"], torch.arange(1000.0))
    assert zipfile.ZipFile(checkpoint).testzip() is None


def test_every_changed_or_missing_byte_is_seen(checkpoint):
    data = checkpoint.read_bytes()
    assert read_checkpoint(checkpoint, CONTENTS)["config"] == {"steps": 1}
    for place in range(0, len(data), 97):
        changed = bytearray(data)
        changed[place] ^= 1
        for damaged in (bytes(changed), data[:place]):
            checkpoint.write_bytes(damaged)
            with pytest.raises(CourseError, match="is damaged and cannot be resumed"):
                read_checkpoint(checkpoint, CONTENTS)


class Trap:
    """An object of a class that a checkpoint may not name."""


def saved(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def changed_inside(path: Path) -> bytes:
    """A real checkpoint, saved again with a text inside the optimizer's state."""
    state = torch.load(path, weights_only=True)
    state["optimizer"]["state"][0]["exp_avg"] = "text"
    return saved(state)


JUNK = {
    "nothing": b"",
    "text": b"junk" * 1000,
    "a list": saved([1, 2]),
    "a tensor": saved(torch.zeros(3)),
    "missing keys": saved({"step": 1, "lora": {}}),
    "nested": saved({"config": {"a": [{}]}, "step": [1]}),
    "code": saved({"config": {}, "step": 1, "trap": Trap()}),
    "a huge view of one number": saved({"step": 1, "lora": {"a": torch.zeros(1).expand(2**40)}}),
    "pickle": b"\x80\x02}q\x00.",
}


@pytest.mark.parametrize("what", JUNK)
def test_junk_is_damaged_in_one_line(capsys, tmp_path, tiny_profile, tiny_pictures, what):
    (tmp_path / "checkpoint.pt").write_bytes(JUNK[what])
    flags = command("--dataset_path", tiny_pictures, "--output_path", tmp_path, "--steps_per_epoch", 1)
    error = refused(capsys, "train-lora", *flags)
    assert "checkpoint.pt is damaged and cannot be resumed" in error
    assert tree(tmp_path) == {"checkpoint.pt"}
    assert main(["train-lora", *flags, "--overwrite"]) == 0


def test_a_checkpoint_changed_by_hand_is_damaged(tiny_model, tiny_pictures, tmp_path, quick):
    (tmp_path / "checkpoint.pt").write_bytes(changed_inside(quick.path.with_name("checkpoint.pt")))
    with pytest.raises(CourseError, match="is damaged and cannot be resumed"):
        train_lora(tiny_model, tiny_pictures, tmp_path, QUICK)


def test_a_checkpoint_of_another_kind_of_run_is_told(tiny_model, tiny_pictures, tmp_path):
    write_checkpoint(tmp_path / "checkpoint.pt", {"config": {}, "model": {}, "step": 3})
    with pytest.raises(CourseError, match="another kind of training run"):
        train_lora(tiny_model, tiny_pictures, tmp_path, QUICK)


def test_what_may_not_be_read_is_not_called_damaged(checkpoint, monkeypatch):
    def forbidden(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    monkeypatch.setattr(builtins, "open", forbidden)
    with pytest.raises(CourseError, match="Permission denied") as caught:
        read_checkpoint(checkpoint, CONTENTS)
    assert "damaged" not in str(caught.value)
    assert "remove" not in str(caught.value)


def test_a_folder_in_its_place_is_told(tmp_path):
    (tmp_path / "checkpoint.pt").mkdir()
    with pytest.raises(CourseError, match="cannot read"):
        read_checkpoint(tmp_path / "checkpoint.pt", CONTENTS)


def test_a_state_that_does_not_fit_is_told(tmp_path):
    with (
        pytest.raises(CourseError, match=r"does not fit this training run \('exp_avg'\)"),
        restoring(tmp_path),
    ):
        raise KeyError("exp_avg")
