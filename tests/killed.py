"""Trainings that end abruptly, for processes of their own."""

import os
import resource
import signal
from pathlib import Path

import torch

from kolors_course.kolors import load_model
from kolors_course.training import checkpoint, result
from kolors_course.training.lora import train_lora
from kolors_course.training.recipe import LoraTraining

DEATHS = (
    "at step 1",
    "in the middle of a checkpoint",
    "before a checkpoint takes its place",
    "at step 3",
    "in the middle of a log line",
    "in the middle of the LoRA file",
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_when_a_file_passes(size: int) -> None:
    """The system itself ends the process in the middle of writing a larger file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def train_until(
    death: str, model: Path, pictures: Path, output: Path, recipe: LoraTraining, threads: int
) -> None:
    torch.set_num_threads(threads)  # sums over several threads round in another way
    if death == "before a checkpoint takes its place":
        checkpoint.os.fsync = lambda descriptor: die()
    if death == "in the middle of the LoRA file":
        save = result.save_lora

        def save_and_die(*arguments, **options):
            die_when_a_file_passes(3000)
            save(*arguments, **options)

        result.save_lora = save_and_die

    def progress(step: int, loss: float) -> None:
        if death == f"at step {step}":
            die()
        if death == "in the middle of a checkpoint":
            die_when_a_file_passes(30_000)
        if death == "in the middle of a log line" and step == 3:
            with (output / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write('{"step": 4, "lo')
            die()

    train_lora(load_model(model), pictures, output, recipe, command="the command", progress=progress)
