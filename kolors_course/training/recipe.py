"""The recipe of a LoRA: every number that decides what training does, checked when it is written down."""

import math
from dataclasses import dataclass, field

import torch

from kolors_course.errors import CourseError
from kolors_course.lora import LoraSettings
from kolors_course.platform.device import autocast_dtype
from kolors_course.training.choices import MIN_SNR_GAMMA, PRECISIONS
from kolors_course.training.losses import LossSettings
from kolors_course.training.optimizers import OptimizerSettings
from kolors_course.training.validation import ValidationSettings


@dataclass(frozen=True)
class DataSettings:
    """How pictures and captions become training samples.

    Attributes:
        buckets: keep each picture's shape as far as possible: train at several sizes of about the same area.
        masks: weight the loss by the mask beside each picture (see `masks.mask_beside`).
        sample_posterior: draw latents from the VAE's posterior; else its mean, as the camp does.
        trigger: words put before every caption, which later call the style.
        prior_weight: how much the loss on prior pictures counts, if there are any (arXiv 2208.12242, eq. 2).

    Raises:
        CourseError: the weight is out of range.
    """

    buckets: bool = False
    masks: bool = False
    sample_posterior: bool = False
    trigger: str = ""
    prior_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.prior_weight < math.inf:
            raise CourseError(f"prior_weight must be a finite number above 0, not {self.prior_weight}")


@dataclass(frozen=True)
class LoraTraining:
    """The recipe of one LoRA.

    `batch_size` counts the pictures of one process; `size` is (width, height), None for the model's own;
    `sample_prompts` are drawn with fixed seeds every `sample_every` steps; with an `ema_decay`, what is drawn,
    judged and saved is the moving average of the LoRA. With `text_encoder_lora`, ChatGLM gets a LoRA too, of the same
    rank and alpha, and captions are encoded in every step.
    """

    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 1e-3
    warmup: int = 20
    weight_decay: float = 0.01
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    settings: LoraSettings = field(default_factory=LoraSettings)
    text_encoder_lora: bool = False
    loss: LossSettings = field(default_factory=lambda: LossSettings(min_snr_gamma=MIN_SNR_GAMMA))
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    data: DataSettings = field(default_factory=DataSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    size: tuple[int, int] | None = None
    center_crop: bool = True
    random_flip: bool = False
    caption_dropout: float = 0.1
    ema_decay: float | None = None
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
        for name in ("learning_rate", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise CourseError(f"{name} must be a finite number above 0, not {getattr(self, name)}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise CourseError(f"ema_decay must lie between 0 and 1, not {self.ema_decay}")
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
