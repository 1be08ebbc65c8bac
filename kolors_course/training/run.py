"""What every training run shares: a folder with a log, checkpoints that survive a kill, a learning rate."""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder


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
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def save(self, config: Any, **state: Any) -> None:
        """Write a checkpoint, together with the configuration it belongs to."""
        with atomic_path(self.checkpoint) as temporary:
            torch.save({"config": asdict(config), **state}, temporary)

    def resume(self, config: Any) -> dict[str, Any] | None:
        """The last checkpoint, or None on a fresh start.

        Raises:
            CourseError: the checkpoint was made with another configuration.
        """
        if not self.checkpoint.is_file():
            return None
        state = torch.load(self.checkpoint, weights_only=True)
        differing = [k for k, v in asdict(config).items() if _plain(state["config"].get(k)) != _plain(v)]
        if differing:
            raise CourseError(
                f"{self.checkpoint} was made with other settings ({', '.join(differing)}); "
                "use the same settings to resume it, or another output folder to start anew"
            )
        return state


def _plain(value: Any) -> Any:
    """Tuples come back from a checkpoint as they were written; lists and tuples mean the same here."""
    return list(value) if isinstance(value, tuple) else value
