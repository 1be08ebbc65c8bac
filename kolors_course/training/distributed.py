"""accelerate set up for a recipe: precision, device, processes and what splits a model between them; its pass."""

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

import torch
from accelerate import Accelerator, DeepSpeedPlugin
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, parse_flag_from_env
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.training.choices import STRATEGIES
from kolors_course.training.learning import Learner, Material, Objective, total_loss
from kolors_course.training.recipe import LoraTraining, mixed_precision

# How long processes wait for each other: one of them encodes all pictures and captions while the others wait.
PATIENCE = timedelta(hours=12)


def process_device(device: torch.device) -> torch.device:
    """The device of this process: `device`, or this process's own GPU when `accelerate launch` started several."""
    if device.type == "cuda" and _processes().use_distributed:
        return _processes().device
    return device


def _processes(cpu: bool = False) -> PartialState:
    """What accelerate knows of this process and the others; the first call lets them find each other."""
    return PartialState(cpu=cpu, timeout=PATIENCE)


def make_accelerator(recipe: LoraTraining, device: torch.device, strategy: str = "auto") -> Accelerator:
    """accelerate with the recipe's precision, on the device of the model.

    Started by `accelerate launch`, it also takes over what that was configured with: processes, FSDP, DeepSpeed.

    Raises:
        CourseError: DeepSpeed is asked for but not installed, an unknown strategy, or the launcher's configuration
            has another gradient accumulation than the recipe.
    """
    plugin = _deepspeed_plugin(recipe, strategy)
    if not _processes(cpu=device.type == "cpu").use_distributed:
        # accelerate keeps the first precision and device of a process; a notebook trains more than once.
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        mixed_precision=mixed_precision(recipe.precision, device),
        cpu=device.type == "cpu",
        gradient_accumulation_steps=recipe.gradient_accumulation,
        deepspeed_plugin=plugin,
    )
    if accelerator.gradient_accumulation_steps != recipe.gradient_accumulation:
        raise CourseError(
            f"the configuration of accelerate says {accelerator.gradient_accumulation_steps} gradient accumulation "
            f"steps, this training run {recipe.gradient_accumulation}; write the same number into both"
        )
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        # DeepSpeed reads the batch size from a data loader, which this training run does not have.
        accelerator.deepspeed_plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = recipe.batch_size
    return accelerator


def is_main_process() -> bool:
    """Whether this process is the one that speaks and writes for all."""
    return _processes().is_main_process


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds only its part of the weights or of the optimizer's state."""
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def needs_one_dtype() -> bool:
    """Whether `accelerate launch` asked for FSDP, which joins frozen and trained weights in tensors of one type."""
    return parse_flag_from_env("ACCELERATE_USE_FSDP")


def check_strategy(strategy: str) -> None:
    """Refuse a strategy that cannot run here.

    Raises:
        CourseError: an unknown name, or DeepSpeed is not installed.
    """
    if strategy not in STRATEGIES:
        raise CourseError(f"training strategy '{strategy}' is not one of {', '.join(STRATEGIES)}")
    if strategy != "auto" and importlib.util.find_spec("deepspeed") is None:
        raise CourseError(
            f"training strategy {strategy} needs the package deepspeed: pip install deepspeed, or use auto"
        )


def _deepspeed_plugin(recipe: LoraTraining, strategy: str) -> DeepSpeedPlugin | None:
    check_strategy(strategy)
    if strategy == "auto":
        return None
    return DeepSpeedPlugin(
        zero_stage=int(strategy[-1]),
        gradient_accumulation_steps=recipe.gradient_accumulation,
        gradient_clipping=recipe.max_grad_norm,
        zero3_save_16bit_model=True,  # else the whole LoRA cannot be put together for a checkpoint
    )


@dataclass(frozen=True)
class AcceleratedPass:
    """Forward and backward with accelerate: in mixed precision, on several devices, a step in several parts.

    Attributes:
        parts: passes that make one step of the optimizer (gradient accumulation); each draws material of its own.
        around: what a pass, backward too, is done in, by the pass's number.
    """

    learner: Learner
    objective: Objective
    material: Material
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    parts: int
    around: Callable[[int], AbstractContextManager]

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The gradients of a step, and its losses: means over its parts and over all processes."""
        accelerator = self.accelerator
        means: dict[str, Tensor] = {}
        self.optimizer.zero_grad()
        for number in range(step * self.parts, (step + 1) * self.parts):
            with accelerator.accumulate(self.learner.module), accelerator.autocast(), self.around(number):
                losses = self.objective(self.learner.model, **self.material(number))
                accelerator.backward(total_loss(losses))
            for name, loss in losses.items():
                mean = accelerator.reduce(loss.detach(), reduction="mean")
                means[name] = means.get(name, 0.0) + mean / self.parts
        return means
