"""Train a Kolors LoRA: the camp's job, on the right schedule, at the right strength, without repeated work."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import UNet2DConditionModel
from torch import Tensor

from kolors_course.dataset import Dataset, check_divisible, dataset_hash, read_dataset
from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.parts import is_meta
from kolors_course.lora import join_parts, read_lora, save_lora, unload_lora
from kolors_course.lora.adapter import target_layers
from kolors_course.lora.kinds import split_tensor_name
from kolors_course.training.batches import epoch_rows
from kolors_course.training.data import encode_training_data, training_size
from kolors_course.training.distributed import check_strategy, is_sharded, make_accelerator
from kolors_course.training.logs import TrainingLog, check_loggers
from kolors_course.training.masks import masks_key
from kolors_course.training.optimizers import optimizer_class
from kolors_course.training.output import run_folder, start_afresh
from kolors_course.training.randomness import generator_for
from kolors_course.training.recipe import LoraTraining, mixed_precision
from kolors_course.training.store import Store, content_key, fingerprint
from kolors_course.training.trainer import LoraTrainer
from kolors_course.training.validation import hold_out

__all__ = [
    "LoraResult",
    "LoraTraining",
    "RunOptions",
    "epoch_rows",
    "generator_for",
    "restore",
    "start_afresh",
    "train_lora",
]


@dataclass(frozen=True)
class LoraResult:
    """Where the LoRA lies and how training went. `losses` holds the logged (step, loss) pairs."""

    path: Path
    steps: int
    losses: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class RunOptions:
    """How a training runs, none of which is part of its recipe.

    Attributes:
        cache_folder: keeps encoded pictures and captions on disk; None keeps them in memory only.
        loggers: names of `logs.LOGGERS`, besides the log.jsonl that is always written.
        strategy: one of `choices.STRATEGIES`.
        free_encoders: give back the memory of the text encoder, for good, and lend that of the VAE, once they have
            encoded the data, see `encode_training_data`.
    """

    cache_folder: Path | None = None
    loggers: tuple[str, ...] = ()
    strategy: str = "auto"
    free_encoders: bool = False


def train_lora(
    model: KolorsModel,
    dataset_path: str | Path,
    output: str | Path,
    recipe: LoraTraining | None = None,
    *,
    command: str = "",
    overwrite: bool = False,
    prior_path: str | Path | None = None,
    pretrained_lora: str | Path | None = None,
    options: RunOptions | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> LoraResult:
    """Train a LoRA on a folder of pictures and captions and write `output/lora.safetensors`.

    The folder also receives log.jsonl, samples/ and checkpoint.pt; the same call resumes an interrupted run, and
    `overwrite` discards it, once all that can be wrong with the new one has been looked at. The model is left
    without any LoRA. Of a model loaded in phases, each network is fetched when its turn comes.

    Args:
        prior_path: a second data set, of what the model must not forget (prior preservation).
        pretrained_lora: a LoRA file to start from.

    Raises:
        CourseError: see `read_dataset`, `encode_training_data`, `LoraTraining`, `RunFolder`; or training diverged,
            another training runs in the folder, the disk is full, or the recipe does not suit the model or this
            machine.
    """
    recipe, options, output = recipe or LoraTraining(), options or RunOptions(), Path(output)
    dataset = read_dataset(dataset_path)
    prior = read_dataset(prior_path) if prior_path else None
    check_divisible(*training_size(recipe, model), model.size_multiple)
    _check(recipe, options, model, dataset)
    pretrained = _read_pretrained(pretrained_lora, recipe, model.unet) if pretrained_lora else None
    accelerator = make_accelerator(recipe, model.device, options.strategy)
    _check_processes(recipe, accelerator)
    try:
        with run_folder(output, accelerator, options.cache_folder) as run:
            store = Store(options.cache_folder) if options.cache_folder else None
            with accelerator.main_process_first():  # the others then find what it put into the store
                data = encode_training_data(
                    model, dataset, prior, recipe, store, free_encoders=options.free_encoders
                )
            model.fetch("unet")
            if overwrite and accelerator.is_main_process:
                start_afresh(output)
            accelerator.wait_for_everyone()
            origin = _origin(model, recipe, dataset, prior, pretrained) | {
                "number of processes": accelerator.num_processes
            }
            trainer = LoraTrainer(model, recipe, data, run, accelerator, origin, pretrained)
            _train(trainer, options, progress)
            path = _write_lora(trainer, dataset, command)
    finally:
        restore(model)
    return LoraResult(path, trainer.step, tuple(trainer.losses))


def _check(recipe: LoraTraining, options: RunOptions, model: KolorsModel, dataset: Dataset) -> None:
    unet = model.unet
    target_layers(unet, recipe.settings.target_modules)
    if mixed_precision(recipe.precision, model.device) == "no" and unet.dtype != torch.float32:
        raise CourseError(
            f"precision {recipe.precision} computes in float32 here, but the model is {unet.dtype}; load it in "
            "float32, or use precision bf16 or 16-mixed"
        )
    hold_out(dataset, recipe.validation.share, recipe.seed)
    optimizer_class(recipe.optimizer.name)
    check_loggers(options.loggers)
    check_strategy(options.strategy)


def _check_processes(recipe: LoraTraining, accelerator: Accelerator) -> None:
    if recipe.text_encoder_lora and accelerator.num_processes > 1:
        raise CourseError(
            "a LoRA of the text encoder is trained by one process; leave it out, or start only one"
        )
    if recipe.ema_decay and is_sharded(accelerator):
        raise CourseError(
            "a moving average needs the whole LoRA on every device; leave ema_decay out, or FSDP and DeepSpeed"
        )


def _origin(
    model: KolorsModel,
    recipe: LoraTraining,
    dataset: Dataset,
    prior: Dataset | None,
    pretrained: dict[str, Tensor] | None,
) -> dict[str, Any]:
    """What besides the recipe decides the result, by names that an error message can use."""
    data = (dataset, *([prior] if prior else []))
    return {
        "base model": model.name,
        "number format of the base model": model.quantization,
        "base model (it has the same name but other weights)": fingerprint(model.unet),
        "data set": dataset_hash(dataset),
        "set of prior pictures": dataset_hash(prior) if prior else None,
        "order of the pictures": content_key(*(sample.path.name for each in data for sample in each.samples)),
        "set of masks": content_key(*map(masks_key, data)) if recipe.data.masks else None,
        "LoRA to start from": content_key(*(pretrained[name] for name in sorted(pretrained)))
        if pretrained
        else None,
    }


def _read_pretrained(path: str | Path, recipe: LoraTraining, unet: UNet2DConditionModel) -> dict[str, Tensor]:
    settings = recipe.settings
    lora = read_lora(path, unet=unet)
    labels = {"scale": "scale (alpha/rank)"}
    for name in ("adapter", "rank", "scale", "use_dora"):
        found, wanted = getattr(lora.settings, name), getattr(settings, name)
        if found != wanted:
            raise CourseError(
                f"{path} has {labels.get(name, name)} {found}, but this training {wanted}; use the settings it "
                "was made with"
            )
    if bool(lora.text_encoder) != recipe.text_encoder_lora:
        has, wants = ("a", "none") if lora.text_encoder else ("no", "one")
        raise CourseError(f"{path} has {has} part for the text encoder, but this training wants {wants}")
    found, wanted = (
        {split_tensor_name(name)[0] for name in lora.state_dict},
        target_layers(unet, settings.target_modules),
    )
    if found != wanted.keys():
        raise CourseError(
            f"{path} adapts {len(found)} layers, but this training {len(wanted)}, and not the same; use the target "
            f"modules it was made with: {', '.join(lora.settings.target_modules)}"
        )
    return join_parts(lora.state_dict, lora.text_encoder)


def _train(trainer: LoraTrainer, options: RunOptions, progress: Callable[[int, float], None] | None) -> None:
    if not trainer.accelerator.is_main_process:
        trainer.train(None, progress)
        return
    log = TrainingLog(trainer.run, options.loggers, trainer.step)
    try:
        trainer.train(log, progress)
    finally:
        log.close()


def restore(model: KolorsModel) -> None:
    """Leave the model as it was before: no LoRA, no gradients, no autocast, the VAE back in its place."""
    unet = model.unet
    for name in ("forward", "_original_forward"):
        vars(unet).pop(name, None)  # accelerate puts its autocast into this one object
    unload_lora(unet)
    if model.text_encoder is not None:
        unload_lora(model.text_encoder)
        model.text_encoder.requires_grad_(False)
    unet.disable_gradient_checkpointing()
    unet.eval().requires_grad_(False)
    if not is_meta(model.vae):
        model.vae.to(model.device)


def _write_lora(trainer: LoraTrainer, dataset: Dataset, command: str) -> Path:
    recipe = asdict(trainer.recipe)
    recipe.pop("settings")
    path, state = trainer.run.path / "lora.safetensors", trainer.result()
    if trainer.accelerator.is_main_process:
        last = [loss for _, loss in trainer.losses[-20:]]
        save_lora(
            path,
            state,
            trainer.recipe.settings,
            base_model=trainer.model.name,
            dataset_hash=trainer.origin["data set"],
            extra={
                "steps": trainer.step,
                "pictures": len(dataset),
                "final_loss": sum(last) / len(last),
                "recipe": json.loads(json.dumps(recipe)),
                "command": command,
                **_validation_facts(trainer),
            },
        )
    trainer.accelerator.wait_for_everyone()
    return path


def _validation_facts(trainer: LoraTrainer) -> dict[str, Any]:
    best = trainer.best
    return {"best_step": best.step, "validation_loss": best.loss} if best.lora else {}
