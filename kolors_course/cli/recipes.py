"""From the flags of train-lora to a recipe."""

import argparse
import os
from pathlib import Path
from typing import TypeVar

from kolors_course.errors import CourseError
from kolors_course.kolors import Profile, current_profile
from kolors_course.kolors.layouts import read_model_config
from kolors_course.lora import LoraSettings, parse_target_modules
from kolors_course.lora.choices import TARGETS
from kolors_course.training.choices import MIN_SNR_GAMMA
from kolors_course.training.losses import LossSettings
from kolors_course.training.names import NEEDS, has_what_it_needs
from kolors_course.training.optimizers import OptimizerSettings
from kolors_course.training.recipe import DataSettings, LoraTraining
from kolors_course.training.validation import ValidationSettings

T = TypeVar("T")

FULL_SAMPLE_SIZE = 128  # latent cells along a side of full Kolors' pictures


def profile_of(arguments: argparse.Namespace) -> Profile:
    """Whose defaults suit the model: KOLORS_PROFILE, or full Kolors where its U-Net is given by path."""
    folder = None
    if arguments.pretrained_unet_path:
        folder = Path(arguments.pretrained_unet_path).parent
    elif arguments.model:
        folder = Path(arguments.model) / "unet"
    if folder is None or os.environ.get("KOLORS_PROFILE"):
        return current_profile()
    if arguments.pretrained_unet_path and not (folder / "config.json").is_file():
        return current_profile("kolors")  # as which such a file is loaded
    try:
        config = read_model_config(folder)
    except CourseError:
        return current_profile()  # loading the model says what is wrong
    return current_profile("kolors" if config.get("sample_size") == FULL_SAMPLE_SIZE else None)


def check_ignored(arguments: argparse.Namespace) -> None:
    """Refuse flags that would do nothing, because what they belong to is not asked for.

    Raises:
        CourseError: there is one.
    """
    values = vars(arguments) | {"use_swanlab": arguments.use_swanlab or "swanlab" in arguments.log_with}
    for flag, (other, wanted) in NEEDS.items():
        if values[flag] is not None and not has_what_it_needs(flag, values):
            raise CourseError(f"--{flag} does nothing without --{other}{f' {wanted}' if wanted else ''}")
    if arguments.model and arguments.pretrained_unet_path:
        raise CourseError("--model and the three --pretrained paths both name a model; give one of them")


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def _size_of(arguments: argparse.Namespace, profile: Profile) -> tuple[int, int] | None:
    if arguments.width is None and arguments.height is None:
        return None
    return _given(arguments.width, profile.size), _given(arguments.height, profile.size)


def _steps(arguments: argparse.Namespace, profile: Profile) -> int:
    """Steps of the optimizer: batches are added up within an epoch, and an epoch ends with a step."""
    batches, together = _given(arguments.steps_per_epoch, profile.steps), arguments.accumulate_grad_batches
    return arguments.max_epochs * -(-batches // together)


def _optimizer_of(arguments: argparse.Namespace) -> OptimizerSettings:
    free = arguments.optimizer == "adamw-schedule-free"
    return OptimizerSettings(
        arguments.optimizer, _given(arguments.lr_schedule, "constant" if free else "cosine")
    )


def _lora_settings(arguments: argparse.Namespace) -> LoraSettings:
    targets = arguments.lora_target_modules
    return LoraSettings(
        rank=arguments.lora_rank,
        alpha=arguments.lora_alpha,
        target_modules=TARGETS.get(targets) or parse_target_modules(targets),
        use_rslora=arguments.use_rslora,
        use_dora=arguments.use_dora,
        init=_given(arguments.init_lora_weights, "kaiming"),
        adapter=arguments.adapter,
    )


def _loss_settings(arguments: argparse.Namespace) -> LossSettings:
    gamma = _given(arguments.min_snr_gamma, 0.0 if arguments.debiased else MIN_SNR_GAMMA)
    huber_c = _given(arguments.huber_c, LossSettings.huber_c)
    return LossSettings(arguments.loss, huber_c, gamma or None, arguments.debiased, arguments.noise_offset)


def recipe_of(arguments: argparse.Namespace, profile: Profile) -> LoraTraining:
    """Flags to recipe; what is not given comes from the profile."""
    precision = _given(arguments.precision, "auto" if profile.name == "mini" else "16-mixed")
    return LoraTraining(
        steps=_steps(arguments, profile),
        batch_size=_given(arguments.batch_size, profile.batch_size),
        learning_rate=_given(
            arguments.learning_rate, 1.0 if arguments.optimizer == "prodigy" else profile.learning_rate
        ),
        warmup=arguments.warmup_steps,
        weight_decay=arguments.weight_decay,
        gradient_accumulation=arguments.accumulate_grad_batches,
        gradient_checkpointing=arguments.use_gradient_checkpointing,
        settings=_lora_settings(arguments),
        lora_dropout=arguments.lora_dropout,
        text_encoder_lora=arguments.text_encoder_lora,
        text_learning_rate=arguments.text_encoder_lr,
        loraplus_ratio=arguments.loraplus_lr_ratio,
        loss=_loss_settings(arguments),
        optimizer=_optimizer_of(arguments),
        data=DataSettings(
            buckets=arguments.buckets,
            masks=arguments.masks,
            sample_posterior=arguments.sample_posterior,
            trigger=arguments.trigger,
            prior_weight=_given(arguments.prior_weight, DataSettings.prior_weight),
        ),
        validation=ValidationSettings(
            share=arguments.validation_share,
            every=_given(arguments.validate_every, ValidationSettings.every),
            patience=arguments.patience,
        ),
        size=_size_of(arguments, profile),
        center_crop=arguments.center_crop,
        random_flip=arguments.random_flip,
        caption_dropout=arguments.caption_dropout,
        ema_decay=arguments.ema_decay,
        max_grad_norm=arguments.max_grad_norm,
        precision="16-mixed" if precision == "16" else precision,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        save_every=arguments.save_every,
        sample_every=_given(arguments.sample_every, LoraTraining.sample_every),
        sample_prompts=tuple(arguments.sample_prompt),
    )
