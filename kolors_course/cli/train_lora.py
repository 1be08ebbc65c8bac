"""Train a LoRA. Flags have the names, meanings and (on full Kolors) defaults of the camp's train_kolors_lora.py.

    kolors-course train-lora --dataset_path data/datasets/paper-cut --output_path outputs/paper-cut
    kolors-course train-lora --pretrained_unet_path models/kolors/Kolors/unet/diffusion_pytorch_model.safetensors \\
        --pretrained_text_encoder_path models/kolors/Kolors/text_encoder \\
        --pretrained_fp16_vae_path models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors \\
        --lora_rank 16 --lora_alpha 4.0 --dataset_path data/lora_dataset --output_path ./models --max_epochs 1

The same command resumes an interrupted run; --overwrite starts anew. An "epoch" is --steps_per_epoch steps, as in
the camp, but pictures are drawn so that each comes once before any comes again.
"""

import argparse
from dataclasses import replace
from statistics import fmean
from typing import TypeVar

import torch

from kolors_course.cli.options import add_json, write_json
from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel, Profile, current_profile, load_model, load_profile, three_paths
from kolors_course.lora import LoraSettings, parse_target_modules
from kolors_course.platform.device import limit_threads, pick_device
from kolors_course.training.lora import train_lora
from kolors_course.training.recipe import PRECISIONS, LoraTraining, mixed_precision

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model (default: that of KOLORS_PROFILE)")
    model.add_argument("--model", metavar="DIR", help="model in diffusers layout")
    model.add_argument(
        "--pretrained_unet_path", metavar="FILE", help="U-Net weights, config.json beside them"
    )
    model.add_argument("--pretrained_text_encoder_path", metavar="DIR", help="ChatGLM folder")
    model.add_argument(
        "--pretrained_fp16_vae_path", metavar="FILE", help="VAE weights, config.json beside them"
    )
    model.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    data = parser.add_argument_group("data")
    data.add_argument("--dataset_path", required=True, help="folder with train/metadata.csv and the pictures")
    data.add_argument("--output_path", default="./", help="where log, checkpoints and lora.safetensors go")
    data.add_argument("--height", type=int, help="picture height (default: the model's own size)")
    data.add_argument("--width", type=int, help="picture width (default: the model's own size)")
    data.add_argument("--center_crop", action="store_true", help="crop the middle; else a random part")
    data.add_argument("--random_flip", action="store_true", help="mirror half of the pictures")
    data.add_argument(
        "--dataloader_num_workers",
        type=int,
        default=0,
        help="accepted from the camp's commands; has no work here, because latents are computed once",
    )
    _add_training(parser.add_argument_group("training"))
    _add_lora(parser.add_argument_group("LoRA"))
    add_json(parser)


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--max_epochs", type=int, default=1, help="default %(default)s")
    group.add_argument("--steps_per_epoch", type=int, help="default: 500 on full Kolors, 300 on Kolors-mini")
    group.add_argument("--batch_size", type=int, help="default: 1 on full Kolors, 8 on Kolors-mini")
    group.add_argument(
        "--learning_rate", type=float, help="default: 1e-4 on full Kolors, 1e-3 on Kolors-mini"
    )
    group.add_argument(
        "--precision",
        default="auto",
        choices=(*PRECISIONS, "16"),
        help="16 is 16-mixed (default %(default)s)",
    )
    group.add_argument(
        "--training_strategy",
        default="auto",
        choices=("auto",),
        help="accepted from the camp's commands; training runs in one process on one device",
    )
    group.add_argument("--accumulate_grad_batches", type=int, default=1, help="default %(default)s")
    group.add_argument("--use_gradient_checkpointing", action="store_true", help="less memory, more time")
    group.add_argument(
        "--min_snr_gamma", type=float, default=5.0, help="0 for the plain loss (default %(default)s)"
    )
    group.add_argument("--caption_dropout", type=float, default=0.1, help="default %(default)s")
    group.add_argument("--warmup_steps", type=int, default=20, help="default %(default)s")
    group.add_argument("--seed", type=int, default=0, help="default %(default)s")
    group.add_argument("--checkpoint_every", type=int, default=100, help="steps (default %(default)s)")
    group.add_argument("--sample_every", type=int, default=100, help="steps (default %(default)s)")
    group.add_argument(
        "--sample_prompt", action="append", default=[], help="drawn while training; may be repeated"
    )
    group.add_argument("--overwrite", action="store_true", help="discard an earlier run in --output_path")


def _add_lora(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--lora_rank", type=int, default=4, help="default %(default)s")
    group.add_argument(
        "--lora_alpha", type=float, default=4.0, help="scale is alpha/rank (default %(default)s)"
    )
    group.add_argument("--lora_target_modules", default="to_q,to_k,to_v,to_out", help="default %(default)s")
    group.add_argument("--init_lora_weights", default="kaiming", choices=("gaussian", "kaiming"))


def _load(arguments: argparse.Namespace, profile: Profile, precision: str) -> KolorsModel:
    device = pick_device(arguments.device)
    # Half-precision weights are only trained on under autocast.
    dtype = torch.float32 if mixed_precision(precision, device) == "no" else profile.dtype
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
        return load_model(three_paths(*paths), device, dtype)
    if arguments.model:
        return load_model(arguments.model, device, dtype)
    return load_profile(replace(profile, dtype=dtype), arguments.device)


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def _size_of(arguments: argparse.Namespace) -> tuple[int, int] | None:
    if (arguments.width is None) != (arguments.height is None):
        raise CourseError("give both of --width and --height, or neither for the model's own size")
    return None if arguments.width is None else (arguments.width, arguments.height)


def recipe_of(arguments: argparse.Namespace, profile: Profile) -> LoraTraining:
    """Flags to recipe; what is not given comes from the profile."""
    return LoraTraining(
        steps=arguments.max_epochs * _given(arguments.steps_per_epoch, profile.steps),
        batch_size=_given(arguments.batch_size, profile.batch_size),
        learning_rate=_given(arguments.learning_rate, profile.learning_rate),
        warmup=arguments.warmup_steps,
        gradient_accumulation=arguments.accumulate_grad_batches,
        gradient_checkpointing=arguments.use_gradient_checkpointing,
        settings=LoraSettings(
            rank=arguments.lora_rank,
            alpha=arguments.lora_alpha,
            target_modules=parse_target_modules(arguments.lora_target_modules),
            init=arguments.init_lora_weights,
        ),
        size=_size_of(arguments),
        center_crop=arguments.center_crop,
        random_flip=arguments.random_flip,
        caption_dropout=arguments.caption_dropout,
        min_snr_gamma=arguments.min_snr_gamma or None,
        precision="16-mixed" if arguments.precision == "16" else arguments.precision,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        sample_every=arguments.sample_every,
        sample_prompts=tuple(arguments.sample_prompt),
    )


def run(arguments: argparse.Namespace) -> int:
    profile = current_profile()
    recipe = recipe_of(arguments, profile)
    limit_threads()
    model = _load(arguments, profile, recipe.precision)
    result = train_lora(
        model,
        arguments.dataset_path,
        arguments.output_path,
        recipe,
        command=arguments.command_line,
        overwrite=arguments.overwrite,
    )
    first, last = (fmean(loss for _, loss in part) for part in (result.losses[:20], result.losses[-20:]))
    print(f"{result.steps} steps, loss {first:.4f} -> {last:.4f} (means of 20 steps)")
    print(f"wrote {result.path}")
    report = {"lora": str(result.path), "steps": result.steps, "first_loss": first, "final_loss": last}
    write_json(arguments.json, report)
    return 0
