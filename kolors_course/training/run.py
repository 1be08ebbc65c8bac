"""What every training run shares: a folder with a log, checkpoints that survive a kill, a learning rate."""

import io
import json
import math
import os
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.platform.device import autocast_dtype
from kolors_course.platform.pickles import load_pickle


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision in bfloat16 where the device computes with it natively, plain float32 elsewhere."""
    dtype = autocast_dtype(device)
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def warmup_cosine(step: int, total: int, warmup: int, floor: float = 0.0) -> float:
    """Learning-rate factor: linear warm-up from 0 to 1, then half a cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass
class RunFolder:
    """The folder of one run: `log.jsonl` (one object per line) and `checkpoint.pt` (replaced atomically)."""

    path: Path

    def __post_init__(self) -> None:
        self.path = ensure_folder(self.path)
        self._started = time.monotonic()

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    def log(self, step: int, **values: float) -> None:
        """Append one line to the log; `seconds` counts from the start of this process."""
        row = {"step": step, "seconds": round(time.monotonic() - self._started, 1)}
        row |= {key: round(float(value), 6) for key, value in values.items()}
        log = self.path / "log.jsonl"
        try:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise _cannot_write(log, error) from error

    def save(self, config: Any, **state: Any) -> None:
        """Write a checkpoint, together with the configuration it belongs to.

        It takes the place of the last one only when all of it is on the disk.

        Raises:
            CourseError: it cannot be written, as on a full disk; the last one is kept.
        """
        data = io.BytesIO()
        torch.save({"config": asdict(config), **state}, data)
        try:
            with atomic_path(self.checkpoint) as temporary, temporary.open("wb") as file:
                file.write(data.getbuffer())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _cannot_write(self.checkpoint, error) from error

    def resume(self, config: Any) -> dict[str, Any] | None:
        """The last checkpoint, or None on a fresh start.

        Log lines of later steps are dropped: those steps come again.

        Raises:
            CourseError: the checkpoint is damaged, or was made with another configuration.
        """
        if not self.checkpoint.is_file():
            self._cut_log(0)
            return None
        try:
            # To the CPU: it may have been written on another device. Whoever loads the state moves it.
            state = load_pickle(self.checkpoint)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise CourseError(
                f"{self.checkpoint} is damaged and cannot be resumed; remove it to start anew"
            ) from error
        differing = [k for k, v in asdict(config).items() if _plain(state["config"].get(k)) != _plain(v)]
        if differing:
            raise CourseError(
                f"{self.checkpoint} was made with other settings ({', '.join(differing)}); "
                "use the same settings to resume it, or another output folder to start anew"
            )
        self._cut_log(state["step"])
        return state

    def _cut_log(self, step: int) -> None:
        log = self.path / "log.jsonl"
        if log.is_file():
            lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
            with atomic_path(log) as temporary:
                temporary.write_text("".join(x for x in lines if _logged_step(x) <= step), encoding="utf-8")


def _cannot_write(path: Path, error: OSError) -> CourseError:
    return CourseError(
        f"cannot write {path}: {error.strerror or error}; the last good checkpoint is kept: make room, then run the "
        "same command again"
    )


def _plain(value: Any) -> Any:
    """Tuples come back from a checkpoint as they were written; lists and tuples mean the same here."""
    return list(value) if isinstance(value, tuple) else value


def _logged_step(line: str) -> float:
    """The step of a log line; infinite for a line that was cut off when the process was killed."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf
