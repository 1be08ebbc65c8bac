"""The training loop of a LoRA: steps, checkpoints, validation, samples."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers.training_utils import EMAModel
from peft import get_peft_model_state_dict
from torch import Tensor, nn
from tqdm.auto import tqdm

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors.model import KolorsModel
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    join_parts,
    load_lora_state_dict,
    lora_parameters,
    lora_state_dict,
    split_parts,
    text_settings,
)
from kolors_course.training.average import averaged
from kolors_course.training.batches import PictureStream
from kolors_course.training.data import TrainingData
from kolors_course.training.distributed import is_sharded
from kolors_course.training.logs import TrainingLog
from kolors_course.training.objective import denoising_loss, draw_noise
from kolors_course.training.optimizers import build_optimizer, evaluation_weights, learning_rate_factor
from kolors_course.training.randomness import INIT, PRIOR, STEP, generator_for
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.run import RunFolder
from kolors_course.training.validation import BestSoFar, validation_loss


class LoraTrainer:
    """One training run in one folder; `train` resumes where a checkpoint left off.

    Several processes draw the same batches and each works on its share, so that they learn what one process with
    as many pictures a step would learn.
    """

    def __init__(
        self,
        model: KolorsModel,
        recipe: LoraTraining,
        data: TrainingData,
        run: RunFolder,
        accelerator: Accelerator,
        origin: dict[str, Any],
        pretrained: dict[str, Tensor] | None = None,
    ):
        """Attach a new LoRA to `model`, or that of `pretrained`, or that of the run's checkpoint.

        Args:
            origin: what besides the recipe decides the result; a checkpoint of another origin is refused.
        """
        self.model, self.recipe, self.data, self.run = model, recipe, data, run
        self.accelerator, self.origin = accelerator, origin
        self.step = 0
        self.losses: list[tuple[int, float]] = []
        self.best = BestSoFar()
        for i, (module, settings) in enumerate(self._adapted()):
            key = (i,) if i else ()  # the U-Net's start is the same with and without a text encoder beside it
            add_lora(module, settings, generator=generator_for(recipe.seed, INIT, *key))
        if recipe.gradient_checkpointing:
            model.unet.enable_gradient_checkpointing()
        state = self._read_checkpoint()
        if weights := state["lora"] if state else pretrained:
            parts = [part for part in split_parts(weights) if part]
            for (module, _), part in zip(self._adapted(), parts, strict=True):
                load_lora_state_dict(module, part)
        optimizer = build_optimizer(
            recipe.optimizer, self._lora_parameters(), recipe.learning_rate, recipe.weight_decay
        )
        # The model is where it should be; only DeepSpeed insists on placing it itself.
        deepspeed = accelerator.distributed_type == DistributedType.DEEPSPEED
        placement = None if deepspeed else [False, False]
        unet, self.optimizer = accelerator.prepare(model.unet, optimizer, device_placement=placement)
        self.prepared = replace(model, unet=unet)
        self.parameters = self._lora_parameters()  # of this process: FSDP has cut them up
        self.average = EMAModel(self.parameters, decay=recipe.ema_decay) if recipe.ema_decay else None
        if state:
            self._restore(state)

    def _adapted(self) -> list[tuple[nn.Module, LoraSettings]]:
        """What learns, and how: the U-Net, and the text encoder if the recipe says so."""
        settings = self.recipe.settings
        text = [(self.model.text_encoder, text_settings(settings))] if self.recipe.text_encoder_lora else []
        return [(self.model.unet, settings), *text]

    def _lora_parameters(self) -> list[nn.Parameter]:
        return [parameter for module, _ in self._adapted() for parameter in lora_parameters(module)]

    def _read_checkpoint(self) -> dict[str, Any] | None:
        state = self.run.resume(self.recipe)
        for what, name in self.origin.items() if state else ():
            if state["origin"].get(what) != name:
                raise CourseError(
                    f"{self.run.checkpoint} was made with another {what}; use the same to resume it, or "
                    "another output folder to start anew"
                )
        self.accelerator.wait_for_everyone()  # nobody writes to the log before all have cut it
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.losses = state["step"], [tuple(pair) for pair in state["losses"]]
        self.best = BestSoFar(**state["best"])
        if state["optimizer"]:
            self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])
            self.average.to(self.model.device)
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def lora(self) -> dict[str, Tensor]:
        """A copy of the LoRA's tensors as they are now; on the main process, where each holds only a part."""
        if is_sharded(self.accelerator):
            whole = self.accelerator.get_state_dict(self.prepared.unet)
            return get_peft_model_state_dict(self.model.unet, state_dict=whole)
        parts = [lora_state_dict(module) for module, _ in self._adapted()]
        state = join_parts(parts[0], parts[1] if len(parts) > 1 else {})
        return {name: tensor.clone() for name, tensor in state.items()}

    @contextmanager
    def weights_for_use(self) -> Iterator[None]:
        """Within this context the LoRA is what is drawn, judged and saved: averaged, if the recipe says so."""
        with evaluation_weights(self.optimizer), averaged(self.average, self.parameters):
            yield

    def result(self) -> dict[str, Tensor]:
        """The LoRA that this training made: the best validated one if it may stop early, else the last."""
        if self.recipe.validation.patience and self.best.lora is not None:
            return self.best.lora
        with self.weights_for_use():
            return self.lora()

    def save(self) -> None:
        """Write a checkpoint.

        Where the optimizer's state is sharded, it is left out and starts anew when the run is resumed.

        Raises:
            CourseError: the LoRA holds numbers that are not finite, or the disk is full; the last one stays.
        """
        lora = self.lora()
        if not all(tensor.isfinite().all() for tensor in lora.values()):
            raise self._diverged("the LoRA holds numbers that are not finite")
        if self.accelerator.is_main_process:
            self.run.save(
                self.recipe,
                origin=self.origin,
                lora=lora,
                optimizer=None if is_sharded(self.accelerator) else self.optimizer.state_dict(),
                average=self.average.state_dict() if self.average else None,
                scaler=self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
                best=vars(self.best),
                step=self.step,
                losses=self.losses,
            )

    def train_step(self) -> float:
        """One step of the optimizer; returns the mean loss of all processes."""
        recipe, accelerator = self.recipe, self.accelerator
        factor = learning_rate_factor(recipe.optimizer.schedule, self.step, recipe.steps, recipe.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        total = 0.0
        for part in range(recipe.gradient_accumulation):
            micro = self.step * recipe.gradient_accumulation + part
            with accelerator.accumulate(self.prepared.unet), accelerator.autocast():
                loss = self._loss(micro)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self._clipped(), recipe.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            mean = accelerator.reduce(loss.detach(), reduction="mean")
            total += mean.item() / recipe.gradient_accumulation
        if self.average:
            self.average.step(self.parameters)
        self.step += 1
        return total

    def _loss(self, micro: int) -> Tensor:
        seed, data = self.recipe.seed, self.data
        loss = self._stream_loss(data.train, micro, generator_for(seed, STEP, micro))
        if data.prior:
            prior = self._stream_loss(data.prior, micro, generator_for(seed, PRIOR, micro))
            loss = loss + self.recipe.data.prior_weight * prior
        return loss

    def _stream_loss(self, stream: PictureStream, micro: int, generator) -> Tensor:
        """The loss of this process's share of one batch."""
        recipe, accelerator = self.recipe, self.accelerator
        batch = stream.batch(micro, recipe.batch_size * accelerator.num_processes, generator)
        T = self.model.schedule.num_train_timesteps
        noise, timesteps = draw_noise(batch.latents, T, generator, recipe.loss.noise_offset)
        first = accelerator.process_index * recipe.batch_size
        share = slice(first, first + recipe.batch_size)
        return denoising_loss(self.prepared, batch.rows(share), noise[share], timesteps[share], recipe.loss)

    def _clipped(self) -> list:
        """What the gradient norm is taken over; FSDP can only take it over all it holds."""
        sharded = self.accelerator.distributed_type == DistributedType.FSDP
        return list(self.prepared.unet.parameters()) if sharded else self.parameters

    def _diverged(self, fault: str) -> CourseError:
        kept = f"; the checkpoint in {self.run.path} is from before" if self.run.checkpoint.is_file() else ""
        return CourseError(
            f"{fault} at step {self.step}{kept}: start anew with a lower learning rate or with precision 32"
        )

    def sample(self) -> None:
        """Draw the fixed prompts with fixed seeds."""
        if self.data.sheet is None:
            return
        model = self.prepared if is_sharded(self.accelerator) else self.model
        with self.weights_for_use():
            sheet = self.data.sheet.draw(model)
        if self.accelerator.is_main_process:
            with atomic_path(self.run.path / "samples" / f"step-{self.step:06d}.png") as path:
                sheet.save(path)

    def validate(self) -> float:
        """The loss on the held-out pictures; the best LoRA so far is kept."""
        settings = self.recipe.validation
        with self.weights_for_use():
            with self.accelerator.autocast():
                loss = validation_loss(
                    self.prepared, self.data.held_out, settings.timesteps, self.recipe.batch_size
                )
            loss = self.accelerator.reduce(torch.tensor(loss, device=self.model.device), "mean").item()
            self.best.update(self.step, loss, self.lora())
        return loss  # the same on all processes, which must agree about when to stop

    @property
    def finished(self) -> bool:
        """Whether the last step is done, or validation has not improved for as long as patience lasts."""
        patience = self.recipe.validation.patience
        return self.step >= self.recipe.steps or (patience is not None and self.best.misses >= patience)

    def _due(self, every: int) -> bool:
        return self.finished or self.step % every == 0

    def train(self, log: TrainingLog | None, progress: Callable[[int, float], None] | None = None) -> None:
        """Run to the last step; `progress(step, loss)` is called after each.

        Args:
            log: None on processes other than the main one.
        """
        recipe = self.recipe
        if self.step == 0:
            self.sample()
        with tqdm(initial=self.step, total=recipe.steps, desc="LoRA", disable=log is None) as bar:
            while not self.finished:
                loss = self.train_step()
                if not math.isfinite(loss):
                    raise self._diverged(f"the loss became {loss}")
                self.losses.append((self.step, loss))
                values = {"loss": loss, "learning_rate": self.optimizer.param_groups[0]["lr"]}
                if self.data.held_out and self._due(recipe.validation.every):
                    values["validation_loss"] = self.validate()
                if log:
                    log.write(self.step, **values)
                bar.set_postfix(loss=f"{loss:.4f}")
                bar.update()
                if progress:
                    progress(self.step, loss)
                if self._due(recipe.checkpoint_every):
                    self.save()
                if self._due(recipe.sample_every):
                    self.sample()
