"""The LoRA files of a training run: the last one, and those kept along the way."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from kolors_course.dataset import Dataset, dataset_hash
from kolors_course.lora import save_lora
from kolors_course.training.trainer import LoraTrainer


@dataclass(frozen=True)
class LoraResult:
    """Where the LoRA lies and how training went.

    Attributes:
        losses: the logged (step, loss) pairs.
        kept: the LoRAs of earlier steps, in their order.
    """

    path: Path
    steps: int
    losses: tuple[tuple[int, float], ...]
    kept: tuple[Path, ...] = ()


@dataclass(frozen=True)
class LoraWriter:
    """Writes LoRA files that say what they were made from.

    Attributes:
        command: the command line, if there was one.
    """

    dataset: Dataset
    command: str

    def finish(self, trainer: LoraTrainer) -> LoraResult:
        """Write the trained LoRA as `lora.safetensors` into the output folder."""
        path, state = trainer.run.path / "lora.safetensors", trainer.result()
        best = trainer.best
        facts = {"best_step": best.step, "validation_loss": best.loss} if best.lora else {}
        if trainer.accelerator.is_main_process:
            self._write(path, trainer, state, facts)
        trainer.accelerator.wait_for_everyone()
        kept = tuple(sorted(trainer.run.path.glob("lora-step-*.safetensors")))
        return LoraResult(path, trainer.step, tuple(trainer.losses), kept)

    def keep(self, trainer: LoraTrainer, path: Path) -> None:
        """Write the LoRA of this step to `path`."""
        with trainer.weights_for_use():
            state = trainer.lora()
        if trainer.accelerator.is_main_process:
            self._write(path, trainer, state, {})

    def _write(
        self, path: Path, trainer: LoraTrainer, state: dict[str, Tensor], facts: dict[str, Any]
    ) -> None:
        recipe = asdict(trainer.recipe)
        recipe.pop("settings")
        last = [loss for _, loss in trainer.losses[-20:]]
        save_lora(
            path,
            state,
            trainer.recipe.settings,
            base_model=trainer.model.name,
            dataset_hash=dataset_hash(self.dataset),
            extra={
                "steps": trainer.step,
                "pictures": len(self.dataset),
                "final_loss": sum(last) / len(last),
                "recipe": json.loads(json.dumps(recipe)),
                "command": self.command,
                **facts,
            },
        )
