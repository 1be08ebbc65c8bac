"""`kolors-course train-lora`: from flags to a recipe, and what becomes of it."""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import torch

from kolors_course.cli.options import write_json
from kolors_course.cli.publish import check_push, push
from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel, Profile, current_profile, load_model, three_paths
from kolors_course.kolors.skeleton import full_kolors
from kolors_course.lora import LoraSettings, parse_target_modules
from kolors_course.lora.choices import TARGETS
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.platform.speed import measure_speed
from kolors_course.training.choices import MIN_SNR_GAMMA
from kolors_course.training.distributed import is_main_process, needs_one_dtype, process_device
from kolors_course.training.lora import RunOptions, train_lora
from kolors_course.training.losses import LossSettings
from kolors_course.training.optimizers import OptimizerSettings
from kolors_course.training.plan import GIB, HALF, advice, plan_training
from kolors_course.training.recipe import DataSettings, LoraTraining, mixed_precision
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
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return current_profile()  # loading the model says what is wrong
    return current_profile("kolors" if config.get("sample_size") == FULL_SAMPLE_SIZE else None)


def _load(
    arguments: argparse.Namespace, profile: Profile, precision: str, device: torch.device
) -> KolorsModel:
    """The model, of which nothing is in memory yet."""
    profile = replace(profile, dtype=_dtype(profile, mixed_precision(precision, device)))
    # Kolors' own VAE overflows in float16.
    vae_dtype = torch.float32 if profile.dtype == torch.float16 else None
    options = {"vae_dtype": vae_dtype, "quantize": arguments.quantize, "phased": True}
    paths = [
        arguments.pretrained_unet_path,
        arguments.pretrained_text_encoder_path,
        arguments.pretrained_fp16_vae_path,
    ]
    if any(paths):
        if not all(paths):
            raise CourseError(
                "give all three of --pretrained_unet_path, --pretrained_text_encoder_path and "
                "--pretrained_fp16_vae_path, or none of them"
            )
        layout = three_paths(*paths, arguments.tokenizer_path)
        return load_model(layout, device, profile.dtype, **options)
    if arguments.model:
        return load_model(arguments.model, device, profile.dtype, **options)
    return load_model(profile.present_folder(), device, profile.dtype, profile.variant, **options)


def _dtype(profile: Profile, mixed: str) -> torch.dtype:
    """The type of the frozen weights: half precision only under autocast, and float16 under that of float16."""
    if mixed == "no" or profile.dtype == torch.float32 or needs_one_dtype():
        return torch.float32
    return torch.float16 if mixed == "fp16" else profile.dtype


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def _size_of(arguments: argparse.Namespace, profile: Profile) -> tuple[int, int] | None:
    if arguments.width is None and arguments.height is None:
        return None
    return _given(arguments.width, profile.size), _given(arguments.height, profile.size)


def _steps(arguments: argparse.Namespace, profile: Profile) -> int:
    """Steps of the optimizer: batches are added up within an epoch, and an epoch ends with a step."""
    batches, together = _given(arguments.steps_per_epoch, profile.steps), arguments.accumulate_grad_batches
    return arguments.max_epochs * -(-batches // max(1, together))


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
        init=arguments.init_lora_weights,
        adapter=arguments.adapter,
    )


def _loss_settings(arguments: argparse.Namespace) -> LossSettings:
    gamma = _given(arguments.min_snr_gamma, 0.0 if arguments.debiased else MIN_SNR_GAMMA)
    return LossSettings(
        arguments.loss, arguments.huber_c, gamma or None, arguments.debiased, arguments.noise_offset
    )


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
        text_encoder_lora=arguments.text_encoder_lora,
        loss=_loss_settings(arguments),
        optimizer=_optimizer_of(arguments),
        data=DataSettings(
            buckets=arguments.buckets,
            masks=arguments.masks,
            sample_posterior=arguments.sample_posterior,
            trigger=arguments.trigger,
            prior_weight=arguments.prior_weight,
        ),
        validation=ValidationSettings(
            share=arguments.validation_share, every=arguments.validate_every, patience=arguments.patience
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
        sample_every=arguments.sample_every,
        sample_prompts=tuple(arguments.sample_prompt),
    )


def _options(arguments: argparse.Namespace) -> RunOptions:
    loggers = [*arguments.log_with, *(["swanlab"] if arguments.use_swanlab else [])]
    if arguments.swanlab_mode:
        os.environ["SWANLAB_MODE"] = arguments.swanlab_mode  # where that package looks for it
    return RunOptions(
        cache_folder=Path(arguments.cache_path or Path(arguments.output_path) / "cache"),
        loggers=tuple(dict.fromkeys(loggers)),
        strategy=arguments.training_strategy,
        free_encoders=True,
    )


def _print_plan(arguments: argparse.Namespace, profile: Profile, recipe: LoraTraining) -> None:
    """The plan of a training, and whether it fits, without loading anything."""
    full = profile.name == "kolors"
    device = torch.device(arguments.device or ("cuda" if full else pick_device()))
    if device.type == "cuda" and recipe.precision == "auto" and not torch.cuda.is_available():
        recipe = replace(recipe, precision="bf16")
    if full and not arguments.model and not arguments.pretrained_unet_path and not profile.folder.is_dir():
        model = full_kolors(_dtype(profile, mixed_precision(recipe.precision, device)))
    else:
        model = _load(arguments, profile, recipe.precision, device)
    here, prior = device.type != "cuda" or torch.cuda.is_available(), bool(arguments.prior_path)
    computing = HALF[mixed_precision(recipe.precision, device)] or torch.float32
    speed = measure_speed(device, computing) if here else None
    plan = plan_training(model, recipe, device, arguments.quantize, prior=prior, speed=speed)
    budget = (arguments.plan or 0) * GIB
    if not budget and device.type == "cuda" and here:
        budget = torch.cuda.get_device_properties(device).total_memory
    print("\n".join(plan.lines()))
    if budget:
        print("\n".join(advice(model, plan, device, int(budget), prior=prior)))
    if arguments.plan is not None:
        write_json(arguments.json, plan.to_dict())


def run(arguments: argparse.Namespace) -> int:
    profile = profile_of(arguments)
    recipe = recipe_of(arguments, profile)
    if arguments.plan is not None:
        _print_plan(arguments, profile, recipe)
        return 0
    if not arguments.dataset_path:
        raise CourseError("--dataset_path is missing: give the folder of pictures and captions to train on")
    check_push(arguments.modelscope_model_id, arguments.modelscope_access_token)
    limit_threads()
    device = process_device(pick_device(arguments.device))
    if profile.name == "kolors" and is_main_process():
        _print_plan(arguments, profile, recipe)
    model = _load(arguments, profile, recipe.precision, device)
    result = train_lora(
        model,
        arguments.dataset_path,
        arguments.output_path,
        recipe,
        command=_without_token(arguments),
        prior_path=arguments.prior_path,
        pretrained_lora=arguments.pretrained_lora_path,
        overwrite=arguments.overwrite,
        options=_options(arguments),
    )
    if not is_main_process():
        return 0
    first, last = (fmean(loss for _, loss in part) for part in (result.losses[:20], result.losses[-20:]))
    print(f"{result.steps} steps, loss {first:.4f} -> {last:.4f} (means of 20 steps)")
    print(f"wrote {result.path}")
    report = {"lora": str(result.path), "steps": result.steps, "first_loss": first, "final_loss": last}
    write_json(arguments.json, report)
    if arguments.modelscope_model_id:
        push(result.path, arguments.modelscope_model_id, arguments.modelscope_access_token)
        print(f"pushed to ModelScope as {arguments.modelscope_model_id}")
    return 0


def _without_token(arguments: argparse.Namespace) -> str:
    """The command line as it may be kept in the LoRA file, which is given away."""
    token = arguments.modelscope_access_token
    return arguments.command_line.replace(token, "...") if token else arguments.command_line
