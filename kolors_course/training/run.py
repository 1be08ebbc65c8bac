"""What every training run shares: a folder with a log, checkpoints that survive a kill, a learning rate."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.platform.device import autocast_dtype
from kolors_course.training.checkpoint import Contents, read_checkpoint, write_checkpoint
from kolors_course.training.differences import differing_settings, refuse
from kolors_course.training.learning import Objective

CHECKPOINT = "checkpoint.pt"


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision in bfloat16 where the device computes with it natively, plain float32 elsewhere."""
    dtype = autocast_dtype(device)
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def in_autocast(objective: Objective, device: torch.device) -> Objective:
    """The same objective, in mixed precision where `autocast` takes it."""

    def losses(model: Any, **material: Any) -> dict[str, torch.Tensor]:
        with autocast(device):
            return objective(model, **material)

    return losses


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
        return self.path / CHECKPOINT

    def log(self, step: int, **values: float | Tensor) -> None:
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
        """Write a checkpoint, together with the configuration it belongs to; see `write_checkpoint`."""
        write_checkpoint(self.checkpoint, {"config": asdict(config), **state})

    def resume(
        self, config: Any, contents: Contents, flags: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        """The last checkpoint, or None on a fresh start.

        Log lines of later steps are dropped: those steps come again.

        Args:
            contents: see `read_checkpoint`.
            flags: setting -> what a person knows it by.

        Raises:
            CourseError: see `read_checkpoint`; or it was made with another configuration, or the log is damaged.
        """
        state = read_checkpoint(self.checkpoint, contents)
        if state:
            refuse(self.checkpoint, differing_settings(state["config"], asdict(config), flags or {}))
        self.cut_log(state["step"] if state else 0)
        return state

    def cut_log(self, step: int) -> None:
        """Drop the log lines of steps after `step`, and one that a kill cut off.

        Raises:
            CourseError: something else than a log lies in its place.
        """
        log = self.path / "log.jsonl"
        if not log.exists():
            return
        kept = [line for line, row in read_log(log) if row["step"] <= step]
        with atomic_path(log) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def read_log(log: Path) -> list[tuple[str, dict[str, float]]]:
    """The lines of a log.jsonl, each with what it says: names and numbers, "step" among them.

    A last line that was cut off when the process was killed is left out.

    Raises:
        CourseError: it cannot be read, or is no such log.
    """
    try:
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror or error
        raise CourseError(
            f"cannot read the log {log}: {reason}; move it away, then go on without it"
        ) from error
    rows = []
    for i, line in enumerate(lines):
        row = _parse_row(line)
        if row is not None:
            rows.append((line, row))
        elif i < len(lines) - 1 or line.endswith("\n") or not line.startswith(_ROW[: len(line)]):
            raise CourseError(
                f"{log} is damaged: line {i + 1} is not one of a training log; move it away, then go on without it"
            )
    return rows


_ROW = '{"step": '  # how every line begins


def _parse_row(line: str) -> dict[str, float] | None:
    """What a whole line of a log says; None for anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or "step" not in row or not line.endswith("\n"):
        return None
    return row if all(type(value) in (int, float) for value in row.values()) else None


def _cannot_write(path: Path, error: OSError) -> CourseError:
    return CourseError(
        f"cannot write {path}: {error.strerror or error}; the last good checkpoint is kept: make room, then run the "
        "same command again"
    )
