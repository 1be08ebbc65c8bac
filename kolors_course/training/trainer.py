"""The state of a LoRA training run, and what is done with it: steps, checkpoints, validation, samples."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor, nn

from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel
from kolors_course.training.batches import NoisyBatches
from kolors_course.training.checkpoint import restoring
from kolors_course.training.data import TrainingData
from kolors_course.training.distributed import AcceleratedPass, is_sharded
from kolors_course.training.learner import LoraLearner
from kolors_course.training.learning import Material, Objective, Training, parameters_of
from kolors_course.training.objective import Denoising, PriorPreservation
from kolors_course.training.optimizers import build_optimizer, evaluation_weights, learning_rate_factor
from kolors_course.training.randomness import PRIOR
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.run import RunFolder
from kolors_course.training.validation import BestSoFar, validation_loss


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
        self.losses: list[tuple[int, float]] = []
        self.best = BestSoFar()
        self.learner = LoraLearner(model, recipe)
        if state:
            with restoring(run.checkpoint):
                self.learner.load(state["lora"])
        elif pretrained:
            self.learner.load(pretrained)
        self.training = self._training()
        if state:
            with restoring(run.checkpoint):
                self._restore(state)

    def _training(self) -> Training:
        """The learner with its optimizer and its pass, before the first step."""
        recipe, accelerator, learner = self.recipe, self.accelerator, self.learner
        groups = learner.groups()
        rates = [group["lr"] for group in groups]  # of each group, before warm-up and schedule
        optimizer = build_optimizer(recipe.optimizer, groups, recipe.weight_decay)
        # The model is where it should be; only DeepSpeed insists on placing it itself.
        deepspeed = accelerator.distributed_type == DistributedType.DEEPSPEED
        placement = None if deepspeed else [False, False]
        unet, optimizer = accelerator.prepare(self.model.unet, optimizer, device_placement=placement)
        learner.wrap(unet)
        parameters = parameters_of(learner)

        def rates_at(step: int) -> list[float]:
            factor = learning_rate_factor(recipe.optimizer.schedule, step, recipe.steps, recipe.warmup)
            return [rate * factor for rate in rates]

        def around(number: int) -> AbstractContextManager:
            return learner.dropout.drawing(self.model.device, recipe.seed, number, accelerator.process_index)

        return Training(
            learner,
            AcceleratedPass(
                learner,
                self._objective(),
                self._material(),
                optimizer,
                accelerator,
                recipe.gradient_accumulation,
                around,
            ),
            optimizer,
            rates_at,
            clip=lambda: accelerator.clip_grad_norm_(self._clipped(parameters), recipe.max_grad_norm),
            average=EMAModel(parameters, decay=recipe.ema_decay) if recipe.ema_decay else None,
        )

    def _objective(self) -> Objective:
        objective = Denoising(self.recipe.loss)
        return PriorPreservation(objective, self.recipe.data.prior_weight) if self.data.prior else objective

    def _material(self) -> Material:
        recipe, accelerator, data = self.recipe, self.accelerator, self.data
        noisy = partial(
            NoisyBatches,
            num_train_timesteps=self.model.schedule.num_train_timesteps,
            batch_size=recipe.batch_size,
            noise_offset=recipe.loss.noise_offset,
            processes=accelerator.num_processes,
            process=accelerator.process_index,
        )
        own = noisy(data.train)
        if not data.prior:
            return own
        prior = noisy(data.prior, purpose=PRIOR)
        return lambda number: {**own(number), "prior": prior(number)}

    def _restore(self, state: dict[str, Any]) -> None:
        self.training.load(state)
        self.losses = [tuple(pair) for pair in state["losses"]]
        self.best = BestSoFar(**state["best"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self.training.step

    def lora(self) -> dict[str, Tensor]:
        """A copy of the LoRA's tensors as they are now; on the main process, where each holds only a part."""
        if is_sharded(self.accelerator):
            return self.learner.gathered(self.accelerator.get_state_dict(self.learner.module))
        return self.learner.state()

    @contextmanager
    def weights_for_use(self) -> Iterator[None]:
        """Within this context the LoRA is what is drawn, judged and saved: averaged, if the recipe says so."""
        with evaluation_weights(self.training.optimizer), self.training.averaged():
            yield

    def result(self) -> dict[str, Tensor]:
        """The LoRA that this training run made: the best validated one if it may stop early, else the last."""
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
            training = {"average": None, **self.training.state()}
            if is_sharded(self.accelerator):
                training["optimizer"] = None
            self.run.save(
                self.recipe,
                origin=self.origin,
                precision=self.accelerator.mixed_precision,
                lora=lora,
                scaler=self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
                best=vars(self.best),
                losses=self.losses,
                **training,
            )

    def train_step(self) -> float:
        """One step of the optimizer; returns the mean loss of all processes."""
        return self.training.take_step()["loss"].item()

    def _clipped(self, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
        """What the gradient norm is taken over; FSDP can only take it over all it holds."""
        sharded = self.accelerator.distributed_type == DistributedType.FSDP
        return list(self.learner.module.parameters()) if sharded else parameters

    def diverged(self, fault: str) -> CourseError:
        """What is told when the training came to nothing."""
        kept = f"; the checkpoint in {self.run.path} is from before" if self.run.checkpoint.is_file() else ""
        return CourseError(
            f"{fault} at step {self.step}{kept}: start anew with a lower learning rate or with precision 32"
        )

    def sample(self) -> Image.Image:
        """The fixed prompts, drawn with fixed seeds.

        Raises:
            CourseError: there are none.
        """
        if self.data.sheet is None:
            raise CourseError("there are no sample prompts to draw")
        model = self.learner.model if is_sharded(self.accelerator) else self.model
        with self.weights_for_use():
            return self.data.sheet.draw(model)

    def validate(self) -> float:
        """The loss on the held-out pictures; the best LoRA so far is kept."""
        settings = self.recipe.validation
        with self.weights_for_use():
            with self.accelerator.autocast():
                loss = validation_loss(
                    self.learner.model, self.data.held_out, settings.timesteps, self.recipe.batch_size
                )
            loss = self.accelerator.reduce(torch.tensor(loss, device=self.model.device), "mean").item()
            self.best.update(self.step, loss, self.lora())
        return loss  # the same on all processes, which must agree about when to stop

    @property
    def finished(self) -> bool:
        """Whether the last step is done, or validation has not improved for as long as patience lasts."""
        patience = self.recipe.validation.patience
        return self.step >= self.recipe.steps or (patience is not None and self.best.misses >= patience)
