"""Killed processes, full disks, two training runs in one folder: nothing is lost and nothing is left behind."""

import json
import multiprocessing
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import QUICK

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, remove_leftovers
from kolors_course.training.lock import run_lock
from kolors_course.training.lora import train_lora
from kolors_course.training.run import RunFolder

FILES = {"checkpoint.pt", "config.yaml", "log.jsonl"}
unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGKILL nor file size limits")


@pytest.fixture(scope="module")
def processes():
    """Fresh processes that start quickly: a server imports the libraries once and forks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kolors_course.training.lora"])
    return context


@unix
def test_a_training_killed_again_and_again_ends_bit_for_bit_the_same(
    processes, tiny_folder, tiny_pictures, tiny_model, tmp_path, quick
):
    from killed import DEATHS, train_until

    halves = 0
    for death in DEATHS:
        arguments = (death, tiny_folder, tiny_pictures, tmp_path, QUICK, torch.get_num_threads())
        process = processes.Process(target=train_until, args=arguments)
        process.start()
        process.join()
        assert process.exitcode < 0, death  # ended by a signal
        assert not (tmp_path / "lora.safetensors").exists()
        assert (tmp_path / "checkpoint.pt").is_file() == (DEATHS.index(death) > 2)
        halves += any(file.name.startswith((".checkpoint-", ".tmp")) for file in tmp_path.iterdir())
    assert halves == 3  # the three deaths in the middle of a file left something to clear away
    result = train_lora(tiny_model, tiny_pictures, tmp_path, QUICK, command="the command")
    assert result.losses == quick.losses
    ours, theirs = load_file(result.path), load_file(quick.path)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert {file.name for file in tmp_path.iterdir()} == {
        "checkpoint.pt",
        "config.yaml",
        "log.jsonl",
        "lora.safetensors",
    }
    log = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2, 3, 4]


@contextmanager
def full_disk(size: int):
    """Within this context no file can grow beyond `size` bytes."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@unix
def test_a_full_disk_stops_in_one_line_and_keeps_the_last_checkpoint(
    tiny_model, tiny_pictures, tmp_path, quick
):
    first = {}

    def fill(step, loss):
        if step == 3:
            first["checkpoint"] = (tmp_path / "checkpoint.pt").read_bytes()
            disk.__enter__()

    disk = full_disk(20_000)
    try:
        with pytest.raises(CourseError, match="last good checkpoint is kept") as caught:
            train_lora(tiny_model, tiny_pictures, tmp_path, QUICK, progress=fill, command="the command")
    finally:
        disk.__exit__(None, None, None)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "checkpoint.pt").read_bytes() == first["checkpoint"]
    assert {file.name for file in tmp_path.iterdir()} == FILES
    result = train_lora(tiny_model, tiny_pictures, tmp_path, QUICK, command="the command")
    ours, theirs = load_file(result.path), load_file(quick.path)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@unix
def test_a_log_that_cannot_grow_is_told(tmp_path):
    run = RunFolder(tmp_path)
    run.log(1, loss=1.0)
    with full_disk((tmp_path / "log.jsonl").stat().st_size), pytest.raises(CourseError, match="log.jsonl"):
        run.log(2, loss=1.0)


def test_two_trainings_in_one_folder_are_refused(tiny_model, tiny_pictures, tmp_path):
    with run_lock(tmp_path), pytest.raises(CourseError, match="another training run"):
        train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, steps=1))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".lock").touch()  # left by a killed process
    assert train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, steps=1)).steps == 1


def test_only_temporary_files_are_cleared_away(tmp_path):
    with atomic_path(tmp_path / "checkpoint.pt") as temporary:
        temporary.touch()
    for file in (temporary.name, ".tmp4Fq0Za"):  # the second as safetensors names its own
        (tmp_path / file).touch()
    kept = {".hidden", ".lock", ".a-b", "checkpoint.pt"}
    for file in kept:
        (tmp_path / file).touch()
    remove_leftovers(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == kept
