"""The output folder of a LoRA training run: held by one at a time, cleared of what killed ones left in it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from accelerate import Accelerator

from kolors_course.files import remove_leftovers
from kolors_course.training.lock import run_lock
from kolors_course.training.run import RunFolder

SAMPLES, CONFIG = "samples", "config.yaml"
# What a training run writes, by its names; the first two are the marks of an earlier one.
OWN_FILES = (
    "checkpoint.pt",
    "log.jsonl",
    "log.csv",
    "lora.safetensors",
    "lora-step-*.safetensors",
    CONFIG,
    f"{SAMPLES}/step-*.png",
    "tensorboard/events.out.tfevents.*",
)


@contextmanager
def run_folder(output: Path, accelerator: Accelerator, cache_folder: Path | None) -> Iterator[RunFolder]:
    """`output`, held by the main process for all, without what killed processes left in it.

    Raises:
        CourseError: another training runs in it, or it cannot be written to.
    """
    with run_lock(output) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            _clear_leftovers(output, cache_folder)
        accelerator.wait_for_everyone()
        yield RunFolder(output)


def start_afresh(output: str | Path) -> None:
    """Remove an earlier training from a folder: checkpoint, logs, samples and LoRA, nothing else."""
    output = Path(output)
    if any((output / name).is_file() for name in OWN_FILES[:2]):
        for pattern in OWN_FILES:
            for file in output.glob(pattern):
                file.unlink()


def _clear_leftovers(output: Path, cache_folder: Path | None) -> None:
    # Only in the folder of a run: temporary files elsewhere may be another program's.
    if any((output / name).is_file() for name in OWN_FILES[:4]):
        remove_leftovers(output)
        remove_leftovers(output / SAMPLES)
    # A cache outside the run's folder may be in use by another training run.
    if cache_folder and output in cache_folder.parents:
        remove_leftovers(cache_folder)
