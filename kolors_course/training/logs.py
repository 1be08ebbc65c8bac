"""What a training run tells: a log as JSON lines, and where asked for as CSV, on TensorBoard or elsewhere."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.training.choices import LOGGERS, TRACKERS
from kolors_course.training.run import RunFolder, read_log


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers that cannot run here.

    Raises:
        CourseError: an unknown name, or its package is not installed.
    """
    if unknown := [name for name in names if name not in LOGGERS]:
        raise CourseError(f"logger '{unknown[0]}' is not one of {', '.join(LOGGERS)}")
    available = {str(getattr(name, "value", name)) for name in get_available_trackers()}
    if missing := [name for name in names if name in TRACKERS and name not in available]:
        raise CourseError(f"logging to {missing[0]} needs its package: pip install {missing[0]}")


class TrainingLog:
    """Writes each step to the run folder's log.jsonl and to the chosen loggers."""

    def __init__(self, run: RunFolder, names: Sequence[str], step: int):
        """Start logging after `step`."""
        check_loggers(names)
        self.run, self.csv = run, "csv" in names
        self.trackers = [_tracker(name, run.path, step) for name in names if name in TRACKERS]

    def write(self, step: int, **values: float) -> None:
        self.run.log(step, **values)
        for tracker in self.trackers:
            tracker.log(values, step=step)

    def show(self, step: int, sheet: Image.Image) -> None:
        """Show the samples of a step, as far as a logger shows pictures."""
        for tracker in self.trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({"samples": np.asarray(sheet)[None]}, step, dataformats="NHWC")
            else:
                tracker.log_images({"samples": [sheet]}, step)

    def close(self) -> None:
        """Write the CSV file and close the trackers."""
        if self.csv:
            write_csv(self.run.path / "log.jsonl", self.run.path / "log.csv")
        for tracker in self.trackers:
            tracker.finish()


def _tracker(name: str, folder: Path, step: int) -> GeneralTracker:
    cls = LOGGER_TYPE_TO_CLASS[name]
    if name == "tensorboard":  # steps after the checkpoint are logged again
        tracker = cls("tensorboard", logging_dir=folder, purge_step=step + 1)
    else:
        tracker = cls(f"kolors_course-{folder.resolve().name}")
    tracker.start()
    return tracker


def write_csv(log: Path, target: Path) -> None:
    """A log.jsonl as a table with one row for each line and a column for each name that occurs."""
    rows = [row for _, row in read_log(log)] if log.is_file() else []
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
