"""Train a Kolors LoRA: the camp's job, on the right schedule, at the right strength, without repeated work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from kolors_course.dataset import Dataset, check_divisible, read_dataset
from kolors_course.dataset.layouts import mask_file
from kolors_course.errors import CourseError
from kolors_course.kolors.fingerprint import hash_of_weights
from kolors_course.kolors.inpainting import made_for_inpainting
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.parts import is_meta
from kolors_course.lora import unload_lora
from kolors_course.lora.adapter import target_layers
from kolors_course.training.batches import epoch_rows
from kolors_course.training.config_file import write_config
from kolors_course.training.data import encode_training_data, training_size
from kolors_course.training.distributed import check_strategy, is_sharded, make_accelerator
from kolors_course.training.logs import TrainingLog, check_loggers
from kolors_course.training.loop import TrainingLoop
from kolors_course.training.names import flags_of
from kolors_course.training.optimizers import optimizer_class
from kolors_course.training.output import CONFIG, run_folder, start_afresh
from kolors_course.training.pretrained import read_pretrained
from kolors_course.training.randomness import generator_for
from kolors_course.training.recipe import LoraTraining, mixed_precision
from kolors_course.training.result import LoraResult, LoraWriter
from kolors_course.training.resume import DECIDED, check_weights, origin_of, precision_of, resume
from kolors_course.training.run import RunFolder
from kolors_course.training.store import Store
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
class RunOptions:
    """How a training run is carried out, none of which is part of its recipe.

    Attributes:
        cache_folder: keeps encoded pictures and captions on disk; None keeps them in memory only.
        loggers: names of `logs.LOGGERS`, besides the log.jsonl that is always written.
        strategy: one of `choices.STRATEGIES`.
        free_encoders: give back the memory of the text encoder, for good, and lend that of the VAE, once they have
            encoded the data, see `encode_training_data`.
        flags: what besides the recipe config.yaml is to say, such as the path of the model, by the names of flags.
    """

    cache_folder: Path | None = None
    loggers: tuple[str, ...] = ()
    strategy: str = "auto"
    free_encoders: bool = False
    flags: Mapping[str, Any] = field(default_factory=dict)


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
    start: Callable[[LoraTrainer], None] | None = None,
) -> LoraResult:
    """Train a LoRA on a folder of pictures and captions and write `output/lora.safetensors`.

    The folder also receives log.jsonl, samples/, checkpoint.pt, config.yaml (see `config_file`) and the LoRAs that
    the recipe keeps along the way; the same call resumes an interrupted run, and `overwrite` discards it, once all
    that can be wrong with the new one has been looked at. The model is left without any LoRA. Of a model loaded in
    phases, each network is fetched when its turn comes.

    Args:
        prior_path: a second data set, of what the model must not forget (prior preservation).
        pretrained_lora: a LoRA file to start from.
        progress: called after each step with it and its loss.
        start: called on the main process before the first step.

    Raises:
        CourseError: see `read_dataset`, `encode_training_data`, `LoraTraining`, `resume`; or training diverged,
            another training run is active in the folder, the disk is full, or the recipe does not suit the model
            or this machine.
    """
    recipe, options, output = recipe or LoraTraining(), options or RunOptions(), Path(output)
    dataset = read_dataset(dataset_path)
    prior = read_dataset(prior_path) if prior_path else None
    check_divisible(*training_size(recipe, model), model.size_multiple)
    if made_for_inpainting(model):
        raise CourseError(
            f"{model.name} is made for inpainting; train on the model that draws whole pictures"
        )
    computing = replace(recipe, precision=recipe.precision if overwrite else precision_of(recipe, output))
    _check(computing, options, model, dataset)
    pretrained = read_pretrained(pretrained_lora, recipe, model.unet) if pretrained_lora else None
    material = _Material(dataset, prior, pretrained)
    paths = {"dataset_path": dataset_path, "prior_path": prior_path, "pretrained_lora_path": pretrained_lora}
    flags = {**options.flags, **{flag: str(path) for flag, path in paths.items() if path}}
    writer = LoraWriter(dataset, command)
    accelerator = make_accelerator(computing, model.device, options.strategy)
    _check_processes(recipe, accelerator)
    try:
        with run_folder(output, accelerator, options.cache_folder) as run:
            trainer = _prepare(model, recipe, run, accelerator, material, options, overwrite)
            if accelerator.is_main_process:
                _write_flags(trainer, {**flags, "output_path": str(output)})
                if start:
                    start(trainer)
            _train(trainer, options, progress, writer.keep)
            return writer.finish(trainer)
    finally:
        restore(model)


@dataclass(frozen=True)
class _Material:
    """What is learned from, and from where."""

    dataset: Dataset
    prior: Dataset | None
    pretrained: dict[str, Tensor] | None


def _prepare(
    model: KolorsModel,
    recipe: LoraTraining,
    run: RunFolder,
    accelerator: Accelerator,
    material: _Material,
    options: RunOptions,
    overwrite: bool,
) -> LoraTrainer:
    """Everything up to the first step. Only what the checkpoint refuses costs no time."""
    dataset, prior, pretrained = material.dataset, material.prior, material.pretrained
    origin = origin_of(model, recipe, dataset, prior, pretrained, accelerator.num_processes)
    state = None if overwrite else resume(run, recipe, origin)
    accelerator.wait_for_everyone()  # nobody writes to the log before all have cut it
    store = Store(options.cache_folder) if options.cache_folder else None
    with accelerator.main_process_first():  # the others then find what it put into the store
        data = encode_training_data(model, dataset, prior, recipe, store, free_encoders=options.free_encoders)
    model.fetch("unet")
    origin["weights"] = hash_of_weights(model.unet)
    check_weights(run, state, origin["weights"])
    if overwrite and accelerator.is_main_process:
        start_afresh(run.path)
    accelerator.wait_for_everyone()
    return LoraTrainer(model, recipe, data, run, accelerator, origin, pretrained, state)


def _write_flags(trainer: LoraTrainer, others: Mapping[str, Any]) -> None:
    """Write config.yaml, in which "auto" is what it was decided to be."""
    recipe = trainer.recipe
    auto = recipe.precision == "auto"
    precision = DECIDED[trainer.accelerator.mixed_precision] if auto else recipe.precision
    write_config(trainer.run.path / CONFIG, flags_of(recipe, precision, others))


def _check(recipe: LoraTraining, options: RunOptions, model: KolorsModel, dataset: Dataset) -> None:
    unet = model.unet
    target_layers(unet, recipe.settings.target_modules)
    if mixed_precision(recipe.precision, model.device) == "no" and unet.dtype != torch.float32:
        raise CourseError(
            f"precision {recipe.precision} computes in float32 here, but the model is {unet.dtype}; load it in "
            "float32, or use precision bf16 or 16-mixed"
        )
    if recipe.data.masks and not any(mask_file(sample.path).is_file() for sample in dataset.samples):
        raise CourseError(
            f"masks are asked for, but no picture in {dataset.folder} has one; the mask of cat.jpg is called "
            f"{mask_file(Path('cat.jpg')).name} and lies beside it"
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


def _train(
    trainer: LoraTrainer,
    options: RunOptions,
    progress: Callable[[int, float], None] | None,
    keep: Callable[[LoraTrainer, Path], None],
) -> None:
    main = trainer.accelerator.is_main_process
    log = TrainingLog(trainer.run, options.loggers, trainer.step) if main else None
    try:
        TrainingLoop(trainer, log, progress or (lambda step, loss: None), keep).run()
    finally:
        if log:
            log.close()


def restore(model: KolorsModel) -> None:
    """Leave the model as it was before: no LoRA, no gradients, no autocast, the VAE back in its place."""
    unet = model.unet
    for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
        vars(unet).pop(name, None)  # accelerate puts its autocast and its mark into this one object
    unload_lora(unet)
    if model.text_encoder is not None:
        unload_lora(model.text_encoder)
        model.text_encoder.requires_grad_(False)
    unet.disable_gradient_checkpointing()
    unet.eval().requires_grad_(False)
    if not is_meta(model.vae):
        model.vae.to(model.device)
