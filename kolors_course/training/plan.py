"""What a LoRA training run will take, before anything is loaded: memory of phases, operations and time of a step.

One step runs on the meta device, where tensors have shapes and no numbers. Everything that the real step makes is
made there too, so the count is exact for the tensors themselves; what cuDNN, the driver and a fragmented heap take
besides comes on top.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from kolors_course.errors import LESS, CourseError
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.quantize import quantizable_layers
from kolors_course.kolors.skeleton import skeleton_of
from kolors_course.platform.machine import GIB
from kolors_course.platform.speed import DeviceSpeed
from kolors_course.training.costs import measure_captions, measure_picture, measure_step
from kolors_course.training.data import training_size
from kolors_course.training.recipe import LoraTraining, mixed_precision

# Bytes of a weight in bitsandbytes: the number itself, and its share of the scales of its block or row.
_QUANTIZED_BYTES = {"nf4": 0.516, "int8": 1.003}
# By accelerate's name: the type of mixed precision, None for that of the weights.
HALF = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# Averages that each optimizer keeps, in bytes for each number that learns.
_OPTIMIZER_BYTES = {"adamw": 8, "adamw-8bit": 2, "prodigy": 16, "adamw-schedule-free": 8}


@dataclass(frozen=True)
class Phase:
    """A phase of a training run. `resident` bytes stay in memory all the time, `working` ones at the worst moment."""

    name: str
    resident: int
    working: int
    tflop: float

    @property
    def peak(self) -> int:
        return self.resident + self.working


@dataclass(frozen=True)
class TrainingPlan:
    """What a training run takes: bytes, operations and time.

    Attributes:
        recipe, quantize: of the training run.
        phases: in order; the last is the training itself, and its `tflop` are those of one step.
        weights, adapter, optimizer: bytes of the base U-Net, of what learns, and of the optimizer's averages.
        average: bytes of the moving average, if there is one.
        kept: bytes that the forward pass keeps for the backward pass.
        learning: how many numbers learn.
        seconds: the least time of one step, if the device could be asked.
    """

    recipe: LoraTraining
    quantize: str | None
    phases: tuple[Phase, ...]
    weights: int
    adapter: int
    optimizer: int
    average: int
    kept: int
    learning: int
    seconds: float | None = None

    @property
    def peak(self) -> int:
        """Bytes at the worst moment of all phases."""
        return max(phase.peak for phase in self.phases)

    @property
    def gradients(self) -> int:
        """Bytes of the gradients: one number for each that learns."""
        return self.adapter

    def lines(self) -> list[str]:
        """The plan as lines of text: a table of the phases, what a step takes, and how long all of them last."""
        lines = [f"{'phase':<18}{'in memory':>12}{'at work':>12}{'peak':>12}{'TFLOP':>10}"]
        for phase in self.phases:
            sizes = "".join(f"{size / GIB:>8.2f} GiB" for size in (phase.resident, phase.working, phase.peak))
            lines.append(f"{phase.name:<18}{sizes}{phase.tflop:>10.2f}")
        training = self.phases[-1]
        parts = {
            "base weights": self.weights,
            f"{self.learning:,} numbers that learn": self.adapter,
            "the optimizer's averages": self.optimizer,
            "kept for the backward pass": self.kept,
            "at work besides, at most": training.working - self.kept,
            "gradients, once that is free again": self.gradients,
        }
        if self.average:
            parts["the moving average"] = self.average
        lines.append(f"training, {training.tflop:.2f} TFLOP a step:")
        lines += [f"  {name:<36}{size / GIB:>8.3f} GiB" for name, size in parts.items()]
        if self.seconds is not None:
            lines.append(f"  {self.recipe.steps} steps, {self._time(self.seconds)}")
        if self.quantize == "int8":
            lines.append(
                "  on top: inputs of int8 layers, which bitsandbytes keeps in spite of checkpointing"
            )
        if self.recipe.text_encoder_lora:
            lines.append("  on top: what the text encoder's LoRA keeps for its own backward pass")
        return lines

    def _time(self, seconds: float) -> str:
        minutes = self.recipe.steps * seconds / 60
        whole = f"{minutes:.1f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
        return (
            f"each at least {seconds:.3g} seconds on this machine: {whole} or more, and the encoding before"
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON can hold it; sizes in bytes."""
        facts = {name: value for name, value in vars(self).items() if name not in ("recipe", "phases")}
        return facts | {
            "gradients": self.gradients,
            "peak": self.peak,
            "phases": [vars(phase) | {"peak": phase.peak} for phase in self.phases],
        }


@dataclass(frozen=True)
class Saving:
    """A change that makes a training run smaller; what it does not name stays as it is.

    Attributes:
        settings: of the recipe, by name.
        quantize: the kind of the frozen weights, if that changes.
        more_batches: how many times as many batches there are then.
    """

    settings: Mapping[str, Any]
    quantize: str | None = None
    more_batches: int = 1


def plan_training(
    model: KolorsModel,
    recipe: LoraTraining,
    device: torch.device,
    quantize: str | None = None,
    *,
    prior: bool = False,
    speed: DeviceSpeed | None = None,
) -> TrainingPlan:
    """Plan a training run of `model`, whose networks may be without weights (`load_model(..., phased=True)`).

    Args:
        device: where the training would run; it need not exist here.
        prior: whether there are prior pictures; both losses of a step are then kept for one backward pass.
        speed: of the device, for an estimate of the time.
    """
    unet = skeleton_of(model.unet)
    weights = _unet_bytes(unet, quantize)
    width, height = training_size(recipe, model)
    factor = model.vae_scale_factor
    mixed = mixed_precision(recipe.precision, device)
    batch = (recipe.batch_size, height // factor, width // factor)
    step = measure_step(replace(model, unet=unet), recipe, batch, HALF[mixed], device.type == "cpu")
    learning = step.learning
    average = 4 * learning if recipe.ema_decay else 0
    resident = weights + learning * (4 + _OPTIMIZER_BYTES[recipe.optimizer.name]) + average
    text_weights, vae_weights = (_bytes(part) for part in (model.text_encoder, model.vae))
    if recipe.text_encoder_lora:
        resident += text_weights
    streams = 2 if prior else 1
    passes = recipe.gradient_accumulation * streams
    working = step.peak + (streams - 1) * step.kept
    return TrainingPlan(
        recipe,
        quantize,
        (
            Phase("encode captions", text_weights, *measure_captions(model.text_encoder, 1)),
            Phase("encode pictures", vae_weights, *measure_picture(model.vae, (width, height))),
            Phase("train", resident, working, step.tflop * passes),
        ),
        weights=weights,
        adapter=4 * learning,
        optimizer=_OPTIMIZER_BYTES[recipe.optimizer.name] * learning,
        average=average,
        kept=streams * step.kept,
        learning=learning,
        seconds=passes * speed.seconds(step.tflop, step.calls) if speed else None,
    )


def ways_to_fit(
    model: KolorsModel, plan: TrainingPlan, device: torch.device, budget: int, *, prior: bool = False
) -> Iterator[tuple[Saving, TrainingPlan]]:
    """Changes that make a training run smaller, each on top of those before, until it fits into `budget` bytes.

    Yields:
        The change, and the plan with it.
    """
    batch = plan.recipe.batch_size
    one_by_one = {"batch_size": 1, "gradient_accumulation": batch * plan.recipe.gradient_accumulation}
    for saving in (
        Saving({"gradient_checkpointing": True}),
        Saving(one_by_one, more_batches=batch),
        Saving({}, quantize="nf4"),
    ):
        recipe, quantize = replace(plan.recipe, **saving.settings), saving.quantize or plan.quantize
        if plan.phases[-1].peak > budget and (recipe, quantize) != (plan.recipe, plan.quantize):
            plan = plan_training(model, recipe, device, quantize, prior=prior)
            yield saving, plan


def check_room(plan: TrainingPlan, free: int, advice: str = LESS) -> None:
    """Refuse what cannot fit into `free` bytes.

    Args:
        advice: what to lower.

    Raises:
        CourseError: with what is needed, and what to lower.
    """
    phase = max(plan.phases, key=lambda phase: phase.peak)
    if phase.peak > free:
        raise CourseError(
            f"{phase.name}: {phase.peak / GIB:.1f} GiB of memory are needed, but only {free / GIB:.1f} GiB are free "
            f"here; {advice}"
        )


def _bytes(network: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def _unet_bytes(unet: nn.Module, quantize: str | None) -> int:
    size = _bytes(unet)
    if quantize is None:
        return size
    weights = [layer.weight for layer in quantizable_layers(unet).values()]
    each = _QUANTIZED_BYTES[quantize]
    return size - sum(
        weight.numel() * weight.element_size() - round(weight.numel() * each) for weight in weights
    )
