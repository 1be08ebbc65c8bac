"""The steps of a LoRA training run in turn, and what is due after which of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accelerate.utils import broadcast_object_list
from tqdm.auto import tqdm

from kolors_course.files import atomic_path
from kolors_course.training.logs import TrainingLog
from kolors_course.training.output import SAMPLES
from kolors_course.training.trainer import LoraTrainer


@dataclass(frozen=True)
class TrainingLoop:
    """Trains to the last step, from wherever the trainer is.

    Attributes:
        log: None on processes other than the main one.
        progress: called after each step with it and its loss.
        keep: writes the LoRA of a step to a file.
    """

    trainer: LoraTrainer
    log: TrainingLog | None
    progress: Callable[[int, float], None]
    keep: Callable[[LoraTrainer, Path], None]

    def run(self) -> None:
        """Take all steps that are left, and after each do what is due.

        Raises:
            CourseError: the training diverged, or something cannot be written.
        """
        trainer, recipe = self.trainer, self.trainer.recipe
        self._catch_up()
        with tqdm(initial=trainer.step, total=recipe.steps, desc="LoRA", disable=self.log is None) as bar:
            while not trainer.finished:
                loss = self._step()
                bar.set_postfix(loss=f"{loss:.4f}")
                bar.update()
                self.progress(trainer.step, loss)
                if self._due(recipe.checkpoint_every):
                    trainer.save()
                if self._keeps():
                    self.keep(trainer, self._kept)
                if self._samples():
                    self._sample()

    def _step(self) -> float:
        trainer = self.trainer
        loss = trainer.train_step()
        if not math.isfinite(loss):
            raise trainer.diverged(f"the loss became {loss}")
        trainer.losses.append((trainer.step, loss))
        values = {"loss": loss, "learning_rate": trainer.training.optimizer.param_groups[0]["lr"]}
        if trainer.data.held_out and self._due(trainer.recipe.validation.every):
            values["validation_loss"] = trainer.validate()
        if self.log:
            self.log.write(trainer.step, **values)
        return loss

    def _catch_up(self) -> None:
        """Do what was due at the step of the checkpoint, if the process was killed before it was done."""
        if self._keeps() and self._missing(self._kept):
            self.keep(self.trainer, self._kept)
        if self._samples() and (not self.trainer.resumed or self._missing(self._sheet)):
            self._sample()

    def _due(self, every: int) -> bool:
        return self.trainer.finished or self.trainer.step % every == 0

    def _keeps(self) -> bool:
        """Whether the LoRA of this step is kept beside the last one."""
        every, step = self.trainer.recipe.save_every, self.trainer.step
        return every is not None and step > 0 and not self.trainer.finished and step % every == 0

    def _samples(self) -> bool:
        return self.trainer.data.sheet is not None and self._due(self.trainer.recipe.sample_every)

    def _sample(self) -> None:
        sheet = self.trainer.sample()
        if self.log:
            with atomic_path(self._sheet) as path:
                sheet.save(path)
            self.log.show(self.trainer.step, sheet)

    @property
    def _sheet(self) -> Path:
        """Where the samples of this step go."""
        return self.trainer.run.path / SAMPLES / f"step-{self.trainer.step:06d}.png"

    @property
    def _kept(self) -> Path:
        """Where the LoRA of this step goes, if it is to be kept."""
        return self.trainer.run.path / f"lora-step-{self.trainer.step:06d}.safetensors"

    def _missing(self, file: Path) -> bool:
        """Whether the main process, which writes, does not find `file`: all processes must do the same."""
        return not broadcast_object_list([file.is_file()])[0]
