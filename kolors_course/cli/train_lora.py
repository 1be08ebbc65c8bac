"""Train a LoRA. Flags have the names, meanings and (on full Kolors) defaults of the camp's train_kolors_lora.py.

    kolors-course train-lora --dataset_path data/datasets/paper-cut --output_path outputs/paper-cut
    kolors-course train-lora --pretrained_unet_path models/kolors/Kolors/unet/diffusion_pytorch_model.safetensors \\
        --pretrained_text_encoder_path models/kolors/Kolors/text_encoder \\
        --pretrained_fp16_vae_path models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors \\
        --lora_rank 16 --lora_alpha 4.0 --dataset_path data/lora_dataset --output_path ./models --max_epochs 1

`python -m kolors_course.train_kolors_lora` is the same command, and what `accelerate launch -m` starts on several
devices. The same command resumes an interrupted run; --overwrite starts anew. An "epoch" is --steps_per_epoch
steps, as in the camp, but pictures are drawn so that each comes once before any comes again.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import torch

from kolors_course.cli.options import add_json, write_json
from kolors_course.cli.publish import check_push, push
from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel, Profile, current_profile, load_model, load_profile, three_paths
from kolors_course.lora import ATTENTION_TARGETS, LoraSettings, parse_target_modules
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.training.distributed import STRATEGIES, is_main_process, needs_one_dtype, process_device
from kolors_course.training.logs import LOGGERS
from kolors_course.training.lora import RunOptions, train_lora
from kolors_course.training.losses import LOSSES, LossSettings
from kolors_course.training.optimizers import OPTIMIZERS, SCHEDULES, OptimizerSettings
from kolors_course.training.recipe import PRECISIONS, DataSettings, LoraTraining, mixed_precision
from kolors_course.training.validation import ValidationSettings

T = TypeVar("T")

# Short names of lists of target modules; the second is every linear layer of the transformers, as kohya adapts.
TARGETS = {
    "attention": ATTENTION_TARGETS,
    "attention+feed-forward": (*ATTENTION_TARGETS, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
}
MIN_SNR_GAMMA = 5.0
FULL_SAMPLE_SIZE = 128  # latent cells along a side of full Kolors' pictures

WHOLE, NUMBER, YES = {"type": int}, {"type": float}, {"action": "store_true"}
FLAGS = {
    "model (default: that of KOLORS_PROFILE)": (
        ("--model", {"metavar": "DIR"}, "model in diffusers layout, or the older one of Kwai-Kolors/Kolors"),
        ("--pretrained_unet_path", {"metavar": "FILE"}, "U-Net weights, config.json beside them"),
        ("--pretrained_text_encoder_path", {"metavar": "DIR"}, "ChatGLM folder"),
        ("--pretrained_fp16_vae_path", {"metavar": "FILE"}, "VAE weights, config.json beside them"),
        ("--device", {}, "cuda, mps or cpu (default: the best there is)"),
    ),
    "data": (
        ("--dataset_path", {"required": True}, "folder of pictures and captions, see check-dataset"),
        ("--height", WHOLE, "picture height (default: the model's own size, 1024 on full Kolors)"),
        ("--width", WHOLE, "picture width (default: the model's own size)"),
        ("--center_crop", YES, "crop the middle; else a random part"),
        ("--random_flip", YES, "mirror half of the pictures"),
        ("--buckets", YES, "train each picture near its own shape, at the area of --height x --width"),
        ("--masks", YES, "learn only the white part of cat-masklabel.png beside cat.jpg"),
        ("--sample_posterior", YES, "draw latents from the VAE's posterior instead of taking its mean"),
        ("--trigger", {"default": "", "metavar": "WORDS"}, "words put before every caption"),
        ("--prior_path", {"metavar": "DIR"}, "a data set of what must not be forgotten (prior preservation)"),
        ("--prior_weight", NUMBER | {"default": 1.0}, "of the loss on it"),
        (
            "--dataloader_num_workers",
            WHOLE | {"default": 0},
            "accepted from the camp's commands; has no work here, because latents are computed once",
        ),
    ),
    "training": (
        ("--max_epochs", WHOLE | {"default": 1}, ""),
        ("--steps_per_epoch", WHOLE, "default: 500 on full Kolors, 300 on Kolors-mini"),
        ("--batch_size", WHOLE, "of each process; default: 1 on full Kolors, 8 on Kolors-mini"),
        ("--learning_rate", NUMBER, "default: 1e-4 on full Kolors, 1e-3 on Kolors-mini"),
        (
            "--precision",
            {"choices": (*PRECISIONS, "16")},
            "16 is 16-mixed; default: 16-mixed on full Kolors (bf16 is safer where the GPU has it), else auto",
        ),
        ("--accumulate_grad_batches", WHOLE | {"default": 1}, ""),
        ("--use_gradient_checkpointing", YES, "less memory, more time"),
        ("--caption_dropout", NUMBER | {"default": 0.1}, ""),
        ("--warmup_steps", WHOLE | {"default": 20}, ""),
        ("--optimizer", {"default": "adamw", "choices": tuple(OPTIMIZERS)}, ""),
        ("--lr_schedule", {"default": "cosine", "choices": SCHEDULES}, "after the warm-up"),
        ("--weight_decay", NUMBER | {"default": 0.01}, ""),
        ("--max_grad_norm", NUMBER | {"default": 1.0}, "longer gradients are shortened to it"),
        ("--ema_decay", NUMBER, "save a moving average of the LoRA, such as 0.99"),
        ("--seed", WHOLE | {"default": 0}, ""),
    ),
    "loss": (
        ("--loss", {"default": "mse", "choices": LOSSES}, ""),
        ("--huber_c", NUMBER | {"default": 0.1}, "where the Huber loss becomes a straight line"),
        (
            "--min_snr_gamma",
            NUMBER,
            f"0 for the plain loss (default {MIN_SNR_GAMMA:g}, or none with --debiased)",
        ),
        ("--debiased", YES, "weight timesteps by 1/sqrt(SNR) instead"),
        ("--noise_offset", NUMBER | {"default": 0.0}, "learn brightness too, with about 0.05"),
    ),
    "LoRA": (
        ("--lora_rank", WHOLE | {"default": 4}, ""),
        ("--lora_alpha", NUMBER | {"default": 4.0}, "scale is alpha/rank"),
        (
            "--lora_target_modules",
            {"default": "to_q,to_k,to_v,to_out"},
            f"names, or one of {', '.join(TARGETS)}",
        ),
        ("--init_lora_weights", {"default": "kaiming", "choices": ("gaussian", "kaiming")}, ""),
        ("--use_rslora", YES, "scale alpha/sqrt(rank)"),
        ("--use_dora", YES, "learn the length of each weight row apart from its direction"),
        ("--pretrained_lora_path", {"metavar": "FILE"}, "start from this LoRA"),
    ),
    "watching": (
        (
            "--validation_share",
            NUMBER | {"default": 0.0},
            "part of the pictures held out for a validation loss",
        ),
        ("--validate_every", WHOLE | {"default": 50}, "steps"),
        ("--patience", WHOLE, "stop after so many validations without a better one, and keep the best LoRA"),
        ("--sample_prompt", {"action": "append", "default": []}, "drawn while training; may be repeated"),
        ("--sample_every", WHOLE | {"default": 100}, "steps"),
        ("--log_with", {"action": "append", "default": [], "choices": LOGGERS}, "may be repeated"),
        ("--use_swanlab", YES, "the same as --log_with swanlab"),
        ("--swanlab_mode", {"choices": ("cloud", "local", "offline", "disabled")}, "where SwanLab logs to"),
    ),
    "running": (
        ("--output_path", {"default": "./"}, "where log, checkpoints and lora.safetensors go"),
        ("--overwrite", YES, "discard an earlier run in --output_path"),
        ("--checkpoint_every", WHOLE | {"default": 100}, "steps"),
        (
            "--cache_path",
            {"metavar": "DIR"},
            "keeps encoded pictures and captions (default: cache/ in --output_path)",
        ),
        (
            "--training_strategy",
            {"default": "auto", "choices": STRATEGIES},
            "DeepSpeed shares memory among GPUs",
        ),
        ("--modelscope_model_id", {"metavar": "OWNER/NAME"}, "push the LoRA there after training"),
        ("--modelscope_access_token", {"metavar": "TOKEN"}, ""),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for title, flags in FLAGS.items():
        group = parser.add_argument_group(title)
        for name, options, text in flags:
            shown = options.get("default") not in (None, "", [])
            default = "default %(default)s" if shown else ""
            group.add_argument(
                name, **options, help=f"{text} ({default})" if text and default else text or default
            )
    add_json(parser)


def profile_of(arguments: argparse.Namespace) -> Profile:
    """Whose defaults suit the model: KOLORS_PROFILE, or full Kolors where its U-Net is given by path."""
    folder = None
    if arguments.pretrained_unet_path:
        folder = Path(arguments.pretrained_unet_path).parent
    elif arguments.model:
        folder = Path(arguments.model) / "unet"
    if folder is None or os.environ.get("KOLORS_PROFILE"):
        return current_profile()
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return current_profile()  # loading the model says what is wrong
    return current_profile("kolors" if config.get("sample_size") == FULL_SAMPLE_SIZE else None)


def _load(arguments: argparse.Namespace, profile: Profile, precision: str) -> KolorsModel:
    device = process_device(pick_device(arguments.device))
    profile = replace(profile, dtype=_dtype(profile, mixed_precision(precision, device)))
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
        model = load_model(three_paths(*paths), device, profile.dtype)
    elif arguments.model:
        model = load_model(arguments.model, device, profile.dtype)
    else:
        model = load_profile(profile, str(device))
    if profile.dtype == torch.float16:
        model.vae.float()  # Kolors' own VAE overflows in float16
    return model


def _dtype(profile: Profile, mixed: str) -> torch.dtype:
    """The type of the frozen weights: half precision only under autocast, and float16 under that of float16."""
    if mixed == "no" or profile.dtype == torch.float32 or needs_one_dtype():
        return torch.float32
    return torch.float16 if mixed == "fp16" else profile.dtype


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def _size_of(arguments: argparse.Namespace) -> tuple[int, int] | None:
    if (arguments.width is None) != (arguments.height is None):
        raise CourseError("give both of --width and --height, or neither for the model's own size")
    return None if arguments.width is None else (arguments.width, arguments.height)


def _lora_settings(arguments: argparse.Namespace) -> LoraSettings:
    targets = arguments.lora_target_modules
    return LoraSettings(
        rank=arguments.lora_rank,
        alpha=arguments.lora_alpha,
        target_modules=TARGETS.get(targets) or parse_target_modules(targets),
        use_rslora=arguments.use_rslora,
        use_dora=arguments.use_dora,
        init=arguments.init_lora_weights,
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
        steps=arguments.max_epochs * _given(arguments.steps_per_epoch, profile.steps),
        batch_size=_given(arguments.batch_size, profile.batch_size),
        learning_rate=_given(arguments.learning_rate, profile.learning_rate),
        warmup=arguments.warmup_steps,
        weight_decay=arguments.weight_decay,
        gradient_accumulation=arguments.accumulate_grad_batches,
        gradient_checkpointing=arguments.use_gradient_checkpointing,
        settings=_lora_settings(arguments),
        loss=_loss_settings(arguments),
        optimizer=OptimizerSettings(arguments.optimizer, arguments.lr_schedule),
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
        size=_size_of(arguments),
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


def run(arguments: argparse.Namespace) -> int:
    profile = profile_of(arguments)
    recipe = recipe_of(arguments, profile)
    check_push(arguments.modelscope_model_id, arguments.modelscope_access_token)
    limit_threads()
    model = _load(arguments, profile, recipe.precision)
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
