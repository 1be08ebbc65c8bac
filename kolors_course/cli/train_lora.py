"""`kolors-course train-lora`: what it takes, the training, and what is told of it."""

import argparse
import os
import shlex
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch

from kolors_course.cli.plans import LOWER, advice
from kolors_course.cli.recipes import check_ignored, profile_of, recipe_of
from kolors_course.cli.reports import write_json
from kolors_course.dataset import check_dataset
from kolors_course.errors import CourseError, enough_memory
from kolors_course.kolors import KolorsModel, Profile, three_paths
from kolors_course.kolors.layouts import ModelPaths
from kolors_course.platform.device import free_memory, limit_threads, pick_device
from kolors_course.platform.hub import check_client, check_repo, upload_lora
from kolors_course.platform.machine import GIB
from kolors_course.platform.speed import measure_speed
from kolors_course.training.banner import banner
from kolors_course.training.data import training_size
from kolors_course.training.distributed import is_main_process, process_device
from kolors_course.training.loading import load_for_plan, load_for_training
from kolors_course.training.lora import RunOptions, train_lora
from kolors_course.training.plan import HALF, TrainingPlan, check_room, plan_training
from kolors_course.training.recipe import LoraTraining, mixed_precision
from kolors_course.training.result import LoraResult
from kolors_course.training.resume import precision_of
from kolors_course.training.trainer import LoraTrainer

# What config.yaml says besides the recipe and what belongs to it.
KEPT_FLAGS = (
    "model",
    "pretrained_unet_path",
    "pretrained_text_encoder_path",
    "pretrained_fp16_vae_path",
    "tokenizer_path",
    "quantize",
    "device",
    "cache_path",
    "training_strategy",
    "log_with",
    "use_swanlab",
    "swanlab_mode",
)
OPEN_BOARD = "watch it with: tensorboard --host 127.0.0.1 --logdir"


def _paths(arguments: argparse.Namespace) -> str | ModelPaths | None:
    """Where the model is; None for the folder of the profile."""
    paths = (
        arguments.pretrained_unet_path,
        arguments.pretrained_text_encoder_path,
        arguments.pretrained_fp16_vae_path,
    )
    if not any(paths):
        return arguments.model or None
    if not all(paths):
        raise CourseError(
            "give all three of --pretrained_unet_path, --pretrained_text_encoder_path and "
            "--pretrained_fp16_vae_path, or none of them"
        )
    return three_paths(*paths, arguments.tokenizer_path)


def _options(arguments: argparse.Namespace) -> RunOptions:
    loggers = [*arguments.log_with, *(["swanlab"] if arguments.use_swanlab else [])]
    if arguments.swanlab_mode:
        os.environ["SWANLAB_MODE"] = arguments.swanlab_mode  # where that package looks for it
    return RunOptions(
        cache_folder=Path(arguments.cache_path or Path(arguments.output_path) / "cache"),
        loggers=tuple(dict.fromkeys(loggers)),
        strategy=arguments.training_strategy,
        free_encoders=True,
        flags={flag: getattr(arguments, flag) for flag in KEPT_FLAGS},
    )


def _plan(
    arguments: argparse.Namespace, profile: Profile, recipe: LoraTraining, device: torch.device
) -> tuple[KolorsModel, TrainingPlan]:
    """The plan of a training run, without loading anything; and the model it is of, without weights."""
    if device.type == "cuda" and recipe.precision == "auto" and not torch.cuda.is_available():
        recipe = replace(recipe, precision="bf16")
    model = load_for_plan(profile, device, recipe.precision, _paths(arguments), arguments.quantize)
    here, prior = device.type != "cuda" or torch.cuda.is_available(), bool(arguments.prior_path)
    computing = HALF[mixed_precision(recipe.precision, device)] or torch.float32
    speed = measure_speed(device, computing) if here else None
    return model, plan_training(model, recipe, device, arguments.quantize, prior=prior, speed=speed)


def _print_plan(
    arguments: argparse.Namespace, model: KolorsModel, plan: TrainingPlan, device: torch.device
) -> None:
    """The plan, and whether it fits."""
    budget = (arguments.plan or 0) * GIB
    if not budget and device.type == "cuda" and torch.cuda.is_available():
        budget = torch.cuda.get_device_properties(device).total_memory
    print("\n".join(plan.lines()))
    if budget:
        print("\n".join(advice(model, plan, device, int(budget), prior=bool(arguments.prior_path))))


def _only_plan(arguments: argparse.Namespace, profile: Profile, recipe: LoraTraining) -> None:
    device = torch.device(arguments.device or ("cuda" if profile.name == "kolors" else pick_device()))
    model, plan = _plan(arguments, profile, recipe, device)
    _print_plan(arguments, model, plan, device)
    write_json(arguments.json, plan.to_dict())


def _check_room(
    arguments: argparse.Namespace, profile: Profile, recipe: LoraTraining, device: torch.device
) -> None:
    """Refuse what does not fit into memory, before anything is loaded; of full Kolors the plan is printed too."""
    model, plan = _plan(arguments, profile, recipe, device)
    if profile.name == "kolors":
        _print_plan(arguments, model, plan, device)
    check_room(plan, free_memory(device), LOWER)


def run(arguments: argparse.Namespace) -> int:
    check_ignored(arguments)
    profile = profile_of(arguments)
    recipe = recipe_of(arguments, profile)
    if arguments.plan is not None:
        _only_plan(arguments, profile, recipe)
        return 0
    if not arguments.dataset_path:
        raise CourseError("--dataset_path is missing: give the folder of pictures and captions to train on")
    _check_push(arguments.modelscope_model_id, arguments.modelscope_access_token)
    limit_threads()
    device = process_device(pick_device(arguments.device))
    precision = recipe.precision if arguments.overwrite else precision_of(recipe, Path(arguments.output_path))
    if is_main_process():
        _check_room(arguments, profile, replace(recipe, precision=precision), device)
    with enough_memory(LOWER):
        model = load_for_training(profile, device, precision, _paths(arguments), arguments.quantize)
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
            start=lambda trainer: _say_what_starts(trainer, arguments),
        )
    if is_main_process():
        _report(arguments, result)
    return 0


def _say_what_starts(trainer: LoraTrainer, arguments: argparse.Namespace) -> None:
    size = None if trainer.recipe.data.buckets else training_size(trainer.recipe, trainer.model)
    report = check_dataset(arguments.dataset_path, size)
    print("\n".join(banner(trainer, report)))
    if "tensorboard" in arguments.log_with:
        print(f"{OPEN_BOARD} {shlex.quote(str(arguments.output_path))}", flush=True)


def _report(arguments: argparse.Namespace, result: LoraResult) -> None:
    first, last = (fmean(loss for _, loss in part) for part in (result.losses[:20], result.losses[-20:]))
    print(f"{result.steps} steps, loss {first:.4f} -> {last:.4f} (means of 20 steps)")
    if result.kept:
        print(f"kept along the way: {', '.join(path.name for path in result.kept)}")
    print(f"wrote {result.path}")
    report = {"lora": str(result.path), "steps": result.steps, "first_loss": first, "final_loss": last}
    write_json(arguments.json, report | {"kept": [str(path) for path in result.kept]})
    if arguments.modelscope_model_id:
        upload_lora(result.path, arguments.modelscope_model_id, arguments.modelscope_access_token)
        print(f"pushed to ModelScope as {arguments.modelscope_model_id}")


def _check_push(repo: str | None, token: str | None) -> None:
    """Refuse, before any work is done, an upload that could not be made after it."""
    if bool(repo) != bool(token):
        raise CourseError("give both of --modelscope_model_id and --modelscope_access_token, or neither")
    if repo:
        check_repo(repo)
        check_client()


def _without_token(arguments: argparse.Namespace) -> str:
    """The command line as it may be kept in the LoRA file, which is given away."""
    token = arguments.modelscope_access_token
    return arguments.command_line.replace(token, "...") if token else arguments.command_line
