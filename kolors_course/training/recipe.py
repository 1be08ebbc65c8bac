"""The recipe of a LoRA: every number that decides what training does, checked when it is written down."""

from dataclasses import dataclass, field

import torch

from kolors_course.errors import CourseError
from kolors_course.lora import LoraSettings
from kolors_course.platform.device import autocast_dtype
from kolors_course.training.choices import MIN_SNR_GAMMA, PRECISIONS
from kolors_course.training.limits import LIMITS, check_numbers
from kolors_course.training.losses import LossSettings
from kolors_course.training.optimizers import OptimizerSettings
from kolors_course.training.sample_prompts import SamplePrompt
from kolors_course.training.validation import ValidationSettings

_OPTIONAL = ("text_learning_rate", "loraplus_ratio", "ema_decay", "save_every")


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
        LIMITS["data.prior_weight"].check("prior_weight", self.prior_weight)


@dataclass(frozen=True)
class LoraTraining:
    """All settings that decide what a LoRA learns, besides the model and the data.

    Attributes:
        batch_size: pictures of one process.
        lora_dropout: the share of the inputs of A that are left out at random (peft's `lora_dropout`).
        text_encoder_lora: ChatGLM gets a LoRA too, of the same rank and alpha; captions are encoded in every step.
        text_learning_rate: of that LoRA; None for the same as the U-Net's.
        loraplus_ratio: how many times as fast B learns as A (LoRA+, arXiv 2402.12354); None for equally fast.
        size: (width, height); None for the model's own.
        ema_decay: what is drawn, judged and saved is the moving average of the LoRA.
        save_every: steps from one LoRA that is kept along the way to the next; None keeps none.
        sample_prompts: drawn every `sample_every` steps; a text is as good as a `SamplePrompt`.

    Raises:
        CourseError: a number is out of range (see `training.limits`), or settings do not go together.
    """

    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 1e-3
    warmup: int = 20
    weight_decay: float = 0.01
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    settings: LoraSettings = field(default_factory=LoraSettings)
    lora_dropout: float = 0.0
    text_encoder_lora: bool = False
    text_learning_rate: float | None = None
    loraplus_ratio: float | None = None
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
    save_every: int | None = None
    sample_every: int = 100
    sample_prompts: tuple[SamplePrompt, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(self, _OPTIONAL)
        LIMITS["settings.rank"].check("LoRA rank", self.settings.rank)
        LIMITS["settings.alpha"].check("LoRA alpha", self.settings.alpha)
        for side in self.size or ():
            LIMITS["side"].check("width and height", side)
        prompts = (SamplePrompt(each) if isinstance(each, str) else each for each in self.sample_prompts)
        object.__setattr__(self, "sample_prompts", tuple(prompts))
        self._check_together()
        if self.precision not in PRECISIONS:
            raise CourseError(f"precision '{self.precision}' is not one of {', '.join(PRECISIONS)}")

    def _check_together(self) -> None:
        if self.text_learning_rate and not self.text_encoder_lora:
            raise CourseError("a learning rate of the text encoder's own needs a LoRA of the text encoder")
        kind = self.settings.kind
        if not kind.is_pair and (self.lora_dropout or self.loraplus_ratio):
            raise CourseError(f"dropout and LoRA+ are for LoRA, not for {kind.label}")
        if self.optimizer.name == "prodigy" and (self.text_learning_rate or self.loraplus_ratio):
            raise CourseError(
                "prodigy finds one learning rate for all; LoRA+ and a text encoder's own need another"
            )


def mixed_precision(precision: str, device: torch.device) -> str:
    """accelerate's name for a precision flag. On a CPU 16-mixed means bf16, which has fp32's range.

    "auto" takes bf16 where it is fast and fp32 elsewhere.
    """
    if precision == "auto":
        return "bf16" if autocast_dtype(device) == torch.bfloat16 else "no"
    if precision == "16-mixed":
        return "fp16" if device.type == "cuda" else "bf16"
    return {"32": "no", "bf16": "bf16"}[precision]
