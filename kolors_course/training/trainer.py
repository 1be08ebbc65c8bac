"""The state of a LoRA training, and what is done with it: steps, checkpoints, validation, samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers.training_utils import EMAModel
from peft import get_peft_model_state_dict
from PIL import Image
from torch import Tensor, nn

from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    join_parts,
    load_lora_state_dict,
    lora_state_dict,
    split_parts,
    text_settings,
)
from kolors_course.lora.adapter import named_lora_parameters
from kolors_course.training.average import averaged
from kolors_course.training.batches import PictureStream
from kolors_course.training.checkpoint import restoring
from kolors_course.training.data import TrainingData
from kolors_course.training.distributed import is_sharded
from kolors_course.training.dropout import LoraDropout
from kolors_course.training.objective import denoising_loss, draw_noise
from kolors_course.training.optimizers import (
    LearningRates,
    build_optimizer,
    evaluation_weights,
    learning_rate_factor,
    parameter_groups,
)
from kolors_course.training.randomness import INIT, PRIOR, STEP, generator_for
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.run import RunFolder
from kolors_course.training.validation import BestSoFar, validation_loss


def learning_rates(recipe: LoraTraining) -> LearningRates:
    """How fast what learns, by the recipe."""
    text = recipe.text_learning_rate or recipe.learning_rate
    return LearningRates(recipe.learning_rate, text, recipe.loraplus_ratio or 1.0)


class LoraTrainer:
    """One training run in one folder, at one step of it; see `TrainingLoop` for the steps in turn.

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
        state: dict[str, Any] | None = None,
    ):
        """Attach a new LoRA to `model`, or that of `pretrained`, or that of the checkpoint `state`.

        Args:
            origin: what besides the recipe decides the result, for the checkpoints.
            state: see `resume`.

        Raises:
            CourseError: the checkpoint does not fit.
        """
        self.model, self.recipe, self.data, self.run = model, recipe, data, run
        self.accelerator, self.origin, self.resumed = accelerator, origin, state is not None
        self.step = 0
        self.losses: list[tuple[int, float]] = []
        self.best = BestSoFar()
        for i, (module, settings) in enumerate(self._adapted()):
            key = (i,) if i else ()  # the U-Net's start is the same with and without a text encoder beside it
            add_lora(module, settings, generator=generator_for(recipe.seed, INIT, *key))
        if recipe.gradient_checkpointing:
            model.unet.enable_gradient_checkpointing()
        if state:
            with restoring(run.checkpoint):
                self._load_lora(state["lora"])
        elif pretrained:
            self._load_lora(pretrained)
        self.dropout = LoraDropout([module for module, _ in self._adapted()], recipe.lora_dropout)
        groups = parameter_groups(self._networks(), learning_rates(recipe))
        self.rates = [group["lr"] for group in groups]  # of each group, before warm-up and schedule
        optimizer = build_optimizer(recipe.optimizer, groups, recipe.weight_decay)
        # The model is where it should be; only DeepSpeed insists on placing it itself.
        deepspeed = accelerator.distributed_type == DistributedType.DEEPSPEED
        placement = None if deepspeed else [False, False]
        unet, self.optimizer = accelerator.prepare(model.unet, optimizer, device_placement=placement)
        self.prepared = replace(model, unet=unet)
        self.parameters = self._lora_parameters()  # of this process: FSDP has cut them up
        self.average = EMAModel(self.parameters, decay=recipe.ema_decay) if recipe.ema_decay else None
        if state:
            with restoring(run.checkpoint):
                self._restore(state)

    def _adapted(self) -> list[tuple[nn.Module, LoraSettings]]:
        """What learns, and how: the U-Net, and the text encoder if the recipe says so."""
        settings = self.recipe.settings
        text = [(self.model.text_encoder, text_settings(settings))] if self.recipe.text_encoder_lora else []
        return [(self.model.unet, settings), *text]

    def _networks(self) -> list[dict[str, nn.Parameter]]:
        """What learns, by name, of each network."""
        return [named_lora_parameters(module) for module, _ in self._adapted()]

    def _lora_parameters(self) -> list[nn.Parameter]:
        return [parameter for network in self._networks() for parameter in network.values()]

    def _load_lora(self, weights: dict[str, Tensor]) -> None:
        parts = [part for part in split_parts(weights) if part]
        for (module, _), part in zip(self._adapted(), parts, strict=True):
            load_lora_state_dict(module, part)

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
            raise self.diverged("the LoRA holds numbers that are not finite")
        if self.accelerator.is_main_process:
            self.run.save(
                self.recipe,
                origin=self.origin,
                precision=self.accelerator.mixed_precision,
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
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        total = 0.0
        for part in range(recipe.gradient_accumulation):
            micro = self.step * recipe.gradient_accumulation + part
            dropout = self.dropout.drawing(self.model.device, recipe.seed, micro, accelerator.process_index)
            with accelerator.accumulate(self.prepared.unet), accelerator.autocast(), dropout:
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

    def diverged(self, fault: str) -> CourseError:
        """What is told when the training came to nothing."""
        kept = f"; the checkpoint in {self.run.path} is from before" if self.run.checkpoint.is_file() else ""
        return CourseError(
            f"{fault} at step {self.step}{kept}: start anew with a lower learning rate or with precision 32"
        )

    def sample(self) -> Image.Image:
        """The fixed prompts, drawn with fixed seeds; only if there are any."""
        model = self.prepared if is_sharded(self.accelerator) else self.model
        with self.weights_for_use():
            return self.data.sheet.draw(model)

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
