"""Optimizers and learning-rate schedules by name."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kolors_course.errors import CourseError
from kolors_course.training.choices import OPTIMIZERS, SCHEDULES
from kolors_course.training.run import warmup_cosine

FLOOR = 0.05  # of the learning rate, at the last step


@dataclass(frozen=True)
class OptimizerSettings:
    """Which optimizer, and the course of its learning rate after the warm-up.

    Attributes:
        name: "adamw", "adamw-8bit" (bitsandbytes; its averages take a quarter of the memory), "prodigy"
            (prodigyopt, arXiv 2306.06101; finds the learning rate itself: give it 1) or "adamw-schedule-free"
            (schedulefree, arXiv 2405.15682; wants the schedule "constant").
        schedule: "cosine" and "linear" fall to a twentieth at the last step, "constant" stays.

    Raises:
        CourseError: an unknown name.
    """

    name: str = "adamw"
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("optimizer", self.name, OPTIMIZERS),
            ("learning-rate schedule", self.schedule, SCHEDULES),
        ):
            if value not in known:
                raise CourseError(f"{kind} '{value}' is not one of {', '.join(known)}")


def optimizer_class(name: str) -> Callable[..., torch.optim.Optimizer]:
    """The class of an optimizer of `OPTIMIZERS`.

    Raises:
        CourseError: its package is not installed.
    """
    module, cls = OPTIMIZERS[name]
    try:
        return getattr(importlib.import_module(module), cls)
    except ImportError as error:
        package = module.split(".")[0]
        raise CourseError(
            f"the optimizer {name} needs the package {package}: pip install {package}, or use adamw"
        ) from error


@dataclass(frozen=True)
class LearningRates:
    """The learning rates of a LoRA's parts.

    Attributes:
        unet, text: of the LoRA of each network.
        ratio: how many times as fast as A B learns, and what is no matrix (LoRA+, arXiv 2402.12354).
    """

    unet: float
    text: float
    ratio: float = 1.0


def parameter_groups(
    networks: Sequence[Mapping[str, nn.Parameter]], rates: LearningRates
) -> list[dict[str, Any]]:
    """The tensors that learn, grouped by how fast they do; one group where all are equally fast.

    With LoRA+ the groups are those of peft's `create_loraplus_optimizer`.

    Args:
        networks: name -> tensor of the U-Net's LoRA, then, if there is one, of the text encoder's.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for rate, tensors in zip((rates.unet, rates.text)[: len(networks)], networks, strict=True):
        for name, tensor in tensors.items():
            fast = "lora_B" in name or tensor.ndim == 1  # DoRA's lengths are vectors
            groups.setdefault(rate * rates.ratio if fast else rate, []).append(tensor)
    return [{"params": tensors, "lr": rate} for rate, tensors in groups.items()]


def build_optimizer(
    settings: OptimizerSettings, groups: list[dict[str, Any]], weight_decay: float
) -> torch.optim.Optimizer:
    """The optimizer that `settings` name, over `groups`; see `optimizer_class` for what it raises."""
    optimizer = optimizer_class(settings.name)(groups, lr=groups[0]["lr"], weight_decay=weight_decay)
    if hasattr(optimizer, "train"):  # schedule-free ones
        optimizer.train()
    return optimizer


def learning_rate_factor(schedule: str, step: int, total: int, warmup: int) -> float:
    """What the learning rate is multiplied with at `step`: a linear warm-up to 1, then what `schedule` says."""
    if step < warmup or schedule == "cosine":
        return warmup_cosine(step, total, warmup, FLOOR)
    if schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 1 - (1 - FLOOR) * progress


@contextmanager
def evaluation_weights(optimizer: Any) -> Iterator[None]:
    """Within this context the parameters hold what is to be used and saved.

    A schedule-free optimizer trains at another point than the averaged one it recommends; others do not.
    """
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    if not hasattr(inner, "eval"):
        yield
        return
    parameters = [parameter for group in inner.param_groups for parameter in group["params"]]
    kept = [parameter.detach().clone() for parameter in parameters]
    inner.eval()
    try:
        yield
    finally:
        inner.train()
        for parameter, weight in zip(parameters, kept, strict=True):
            parameter.data.copy_(weight)  # `train` finds the way back but for rounding
