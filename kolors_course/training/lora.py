"""Train a Kolors LoRA: the camp's job, on the right schedule, at the right strength, without repeated work."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.dataset import Dataset, check_divisible, dataset_hash, read_dataset
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors.generate import Sampling, generate
from kolors_course.kolors.model import KolorsModel
from kolors_course.lora import (
    add_lora,
    load_lora_state_dict,
    lora_parameters,
    lora_state_dict,
    save_lora,
    unload_lora,
)
from kolors_course.lora.adapter import target_layers
from kolors_course.training.cache import TrainingCache, build_cache
from kolors_course.training.objective import epsilon_loss
from kolors_course.training.recipe import LoraTraining, mixed_precision
from kolors_course.training.run import RunFolder, warmup_cosine

INIT, CROP, ORDER, STEP = range(4)  # what randomness is for; see `generator_for`


@dataclass(frozen=True)
class LoraResult:
    """Where the LoRA lies and how training went. `losses` holds the logged (step, loss) pairs."""

    path: Path
    steps: int
    losses: tuple[tuple[int, float], ...]


def generator_for(*key: int) -> torch.Generator:
    """A generator for `key`, such as (seed, STEP, 7); then a resumed run has no random state to restore.

    The key is hashed, because torch's CPU generator reads only 32 bits of a seed: numbers packed side by side
    into one longer seed would partly be ignored.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))


def epoch_rows(count: int, batch_size: int, seed: int, step: int) -> Tensor:
    """(batch_size,) picture indices of a step: every picture once in each epoch, in a new order each time."""
    first = step * batch_size
    epochs = range(first // count, (first + batch_size - 1) // count + 1)
    orders = [torch.randperm(count, generator=generator_for(seed, ORDER, epoch)) for epoch in epochs]
    return torch.cat(orders)[first % count :][:batch_size]


def make_accelerator(recipe: LoraTraining, device: torch.device) -> Accelerator:
    """accelerate with the recipe's precision, on the device of the model."""
    if not PartialState().use_distributed:
        # accelerate keeps the first precision and device of a process; a notebook trains more than once.
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision=mixed_precision(recipe.precision, device),
        cpu=device.type == "cpu",
        gradient_accumulation_steps=recipe.gradient_accumulation,
    )


class LoraTrainer:
    """One training run in one folder; `train` resumes where a checkpoint left off."""

    def __init__(
        self, model: KolorsModel, recipe: LoraTraining, cache: TrainingCache, data_hash: str, output: Path
    ):
        self.model, self.recipe, self.cache, self.run = model, recipe, cache, RunFolder(output)
        self.origin = {"base model": model.name, "data set": data_hash}
        self.step = 0
        self.losses: list[tuple[int, float]] = []
        self.accelerator = make_accelerator(recipe, model.device)
        add_lora(model.unet, recipe.settings, generator=generator_for(recipe.seed, INIT))
        if recipe.gradient_checkpointing:
            model.unet.enable_gradient_checkpointing()
        parameters = lora_parameters(model.unet)
        optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
        unet, self.optimizer = self.accelerator.prepare(
            model.unet, optimizer, device_placement=[False, False]
        )
        self.prepared = replace(model, unet=unet)
        self._resume()

    def _resume(self) -> None:
        if state := self.run.resume(self.recipe):
            for what, name in self.origin.items():
                if state["origin"][what] != name:
                    raise CourseError(
                        f"{self.run.checkpoint} was made with another {what}; use the same to resume it, or "
                        "another output folder to start anew"
                    )
            load_lora_state_dict(self.model.unet, state["lora"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.losses = state["step"], [tuple(pair) for pair in state["losses"]]

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            CourseError: the LoRA holds numbers that are not finite; the earlier checkpoint stays.
        """
        if not all(parameter.isfinite().all() for parameter in lora_parameters(self.model.unet)):
            raise self._diverged("the LoRA holds numbers that are not finite")
        self.run.save(
            self.recipe,
            origin=self.origin,
            lora={name: tensor.clone() for name, tensor in lora_state_dict(self.model.unet).items()},
            optimizer=self.optimizer.state_dict(),
            step=self.step,
            losses=self.losses,
        )

    def train_step(self) -> float:
        recipe = self.recipe
        factor = warmup_cosine(self.step, recipe.steps, recipe.warmup, floor=0.05)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        total = 0.0
        for part in range(recipe.gradient_accumulation):
            micro = self.step * recipe.gradient_accumulation + part
            generator = generator_for(recipe.seed, STEP, micro)
            rows = epoch_rows(len(self.cache), recipe.batch_size, recipe.seed, micro)
            latents, prompts, ids = self.cache.batch(rows, generator, recipe.caption_dropout)
            with self.accelerator.accumulate(self.prepared.unet), self.accelerator.autocast():
                loss = epsilon_loss(self.prepared, latents, prompts, ids, generator, recipe.min_snr_gamma)
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_(lora_parameters(self.model.unet), recipe.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            total += loss.item() / recipe.gradient_accumulation
        self.step += 1
        return total

    def _diverged(self, fault: str) -> CourseError:
        kept = f"; the checkpoint in {self.run.path} is from before" if self.run.checkpoint.is_file() else ""
        return CourseError(
            f"{fault} at step {self.step}{kept}: start anew with a lower learning rate or with precision 32"
        )

    def sample(self) -> None:
        """Draw the fixed prompts with fixed seeds."""
        prompts = self.recipe.sample_prompts
        sampling = Sampling(size=self.recipe.size, steps=20, batch_size=self.recipe.batch_size)
        pictures = generate(self.model, prompts, range(len(prompts)), sampling)
        sheet = Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height))
        for i, picture in enumerate(pictures):
            sheet.paste(picture, (i * picture.width, 0))
        with atomic_path(self.run.path / "samples" / f"step-{self.step:06d}.png") as path:
            sheet.save(path)

    def train(self, progress: Callable[[int, float], None] | None = None) -> None:
        """Run to the last step; `progress(step, loss)` is called after each."""
        recipe = self.recipe
        if self.step == 0 and recipe.sample_prompts:
            self.sample()
        with tqdm(initial=self.step, total=recipe.steps, desc="LoRA") as bar:
            while self.step < recipe.steps:
                loss = self.train_step()
                if not math.isfinite(loss):
                    raise self._diverged(f"the loss became {loss}")
                self.losses.append((self.step, loss))
                self.run.log(self.step, loss=loss, learning_rate=self.optimizer.param_groups[0]["lr"])
                bar.set_postfix(loss=f"{loss:.4f}")
                bar.update()
                if progress:
                    progress(self.step, loss)
                last = self.step == recipe.steps
                if last or self.step % recipe.checkpoint_every == 0:
                    self.save()
                if recipe.sample_prompts and (last or self.step % recipe.sample_every == 0):
                    self.sample()


def train_lora(
    model: KolorsModel,
    dataset_path: str | Path,
    output: str | Path,
    recipe: LoraTraining | None = None,
    *,
    command: str = "",
    overwrite: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> LoraResult:
    """Train a LoRA on a folder of pictures and captions and write `output/lora.safetensors`.

    The folder also receives log.jsonl, samples/ and checkpoint.pt; the same call resumes an interrupted run, and
    `overwrite` discards it. The model is left without any LoRA.

    Raises:
        CourseError: see `read_dataset`, `build_cache`, `LoraTraining` and `RunFolder`; or training diverged, or the
            recipe does not suit the model. Mistakes of the recipe are found before `output` is touched.
    """
    recipe = recipe or LoraTraining()
    size = recipe.size or (model.default_size, model.default_size)
    dataset = read_dataset(dataset_path)
    check_divisible(*size, model.size_multiple)
    _check_recipe(recipe, model.unet)
    run = RunFolder(Path(output))
    if overwrite:
        start_afresh(run.path)
    crops = generator_for(recipe.seed, CROP)
    batch = recipe.batch_size
    cache = build_cache(model, dataset, size, recipe.center_crop, recipe.random_flip, crops, batch)
    try:
        trainer = LoraTrainer(model, recipe, cache, dataset_hash(dataset), run.path)
        trainer.train(progress)
        path = _write_lora(trainer, dataset, command)
    finally:
        _restore(model.unet)
    return LoraResult(path, trainer.step, tuple(trainer.losses))


def _check_recipe(recipe: LoraTraining, unet: UNet2DConditionModel) -> None:
    target_layers(unet, recipe.settings.target_modules)
    if mixed_precision(recipe.precision, unet.device) == "no" and unet.dtype != torch.float32:
        raise CourseError(
            f"precision {recipe.precision} computes in float32 here, but the model is {unet.dtype}; load it in "
            "float32, or use precision bf16 or 16-mixed"
        )


def _restore(unet: UNet2DConditionModel) -> None:
    """Leave the U-Net as it was before: no LoRA, no gradients, no autocast."""
    for name in ("forward", "_original_forward"):
        vars(unet).pop(name, None)  # accelerate puts its autocast into this one object
    unload_lora(unet)
    unet.disable_gradient_checkpointing()
    unet.eval().requires_grad_(False)


def _write_lora(trainer: LoraTrainer, dataset: Dataset, command: str) -> Path:
    recipe = asdict(trainer.recipe)
    recipe.pop("settings")
    return save_lora(
        trainer.run.path / "lora.safetensors",
        trainer.model.unet,
        trainer.recipe.settings,
        base_model=trainer.model.name,
        dataset_hash=trainer.origin["data set"],
        extra={
            "steps": trainer.step,
            "pictures": len(dataset),
            "final_loss": sum(loss for _, loss in trainer.losses[-20:]) / len(trainer.losses[-20:]),
            "recipe": json.loads(json.dumps(recipe)),
            "command": command,
        },
    )


def start_afresh(output: str | Path) -> None:
    """Remove an earlier run from a folder: checkpoint, log, samples and LoRA, nothing else."""
    output = Path(output)
    for name in ("checkpoint.pt", "log.jsonl", "lora.safetensors"):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / "samples", ignore_errors=True)
