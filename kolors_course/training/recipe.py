"""The recipe of a LoRA: every number that decides what training does, checked when it is written down."""

import math
from dataclasses import dataclass, field

import torch

from kolors_course.errors import CourseError
from kolors_course.lora import LoraSettings
from kolors_course.platform.device import autocast_dtype

PRECISIONS = ("auto", "32", "bf16", "16-mixed")


@dataclass(frozen=True)
class LoraTraining:
    """The recipe of one LoRA.

    `size` is (width, height), None for the model's own; `sample_prompts` are drawn with fixed seeds every
    `sample_every` steps; `min_snr_gamma` None is the plain loss.
    """

    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 1e-3
    warmup: int = 20
    weight_decay: float = 0.01
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    settings: LoraSettings = field(default_factory=LoraSettings)
    size: tuple[int, int] | None = None
    center_crop: bool = True
    random_flip: bool = False
    caption_dropout: float = 0.1
    min_snr_gamma: float | None = 5.0
    max_grad_norm: float = 1.0
    precision: str = "auto"
    seed: int = 0
    checkpoint_every: int = 100
    sample_every: int = 100
    sample_prompts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "gradient_accumulation", "checkpoint_every", "sample_every"):
            if getattr(self, name) < 1:
                raise CourseError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("warmup", "weight_decay", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise CourseError(f"{name} must not be negative, but is {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm", "min_snr_gamma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise CourseError(f"{name} must be a finite number above 0, not {value}")
        if not 0 <= self.caption_dropout <= 1:
            raise CourseError(f"caption_dropout must lie between 0 and 1, not {self.caption_dropout}")
        if self.precision not in PRECISIONS:
            raise CourseError(f"precision '{self.precision}' is not one of {', '.join(PRECISIONS)}")


def mixed_precision(precision: str, device: torch.device) -> str:
    """accelerate's name for a precision flag. On a CPU 16-mixed means bf16, which has fp32's range.

    "auto" takes bf16 where it is fast and fp32 elsewhere.
    """
    if precision == "auto":
        return "bf16" if autocast_dtype(device) == torch.bfloat16 else "no"
    if precision == "16-mixed":
        return "fp16" if device.type == "cuda" else "bf16"
    return {"32": "no", "bf16": "bf16"}[precision]
