"""Train a Kolors LoRA: the camp's job, on the right schedule, at the right strength, without repeated work."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.dataset import Dataset, dataset_hash, read_dataset
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors.generate import Sampling, generate
from kolors_course.kolors.model import KolorsModel
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    load_lora_state_dict,
    lora_parameters,
    lora_state_dict,
    save_lora,
    unload_lora,
)
from kolors_course.platform.device import autocast_dtype
from kolors_course.training.cache import TrainingCache, build_cache
from kolors_course.training.objective import epsilon_loss
from kolors_course.training.run import RunFolder, warmup_cosine

PRECISIONS = ("auto", "32", "bf16", "16-mixed")


@dataclass(frozen=True)
class LoraTraining:
    """The recipe of one LoRA.

    `size` is (width, height), None for the model's own; `sample_prompts` are drawn with fixed seeds every
    `sample_every` steps; `min_snr_gamma` None is the plain loss.
    """

    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 1e-3
    warmup: int = 20
    weight_decay: float = 0.01
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    settings: LoraSettings = field(default_factory=LoraSettings)
    size: tuple[int, int] | None = None
    center_crop: bool = True
    random_flip: bool = False
    caption_dropout: float = 0.1
    min_snr_gamma: float | None = 5.0
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
        if not self.learning_rate > 0:
            raise CourseError(f"learning_rate must be above 0, not {self.learning_rate}")
        if not 0 <= self.caption_dropout <= 1:
            raise CourseError(f"caption_dropout must lie between 0 and 1, not {self.caption_dropout}")
        if self.precision not in PRECISIONS:
            raise CourseError(f"precision '{self.precision}' is not one of {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class LoraResult:
    """Where the LoRA lies and how training went. `losses` holds the logged (step, loss) pairs."""

    path: Path
    steps: int
    losses: tuple[tuple[int, float], ...]


def mixed_precision(precision: str, device: torch.device) -> str:
    """accelerate's name for a precision flag. On a CPU 16-mixed means bf16, which has fp32's range.

    "auto" takes bf16 where it is fast and fp32 elsewhere.
    """
    if precision == "auto":
        return "bf16" if autocast_dtype(device) == torch.bfloat16 else "no"
    if precision == "16-mixed":
        return "fp16" if device.type == "cuda" else "bf16"
    return {"32": "no", "bf16": "bf16"}[precision]


def step_generator(seed: int, step: int) -> torch.Generator:
    """All randomness of one step, so that a resumed run needs to restore no random state."""
    return torch.Generator().manual_seed((seed << 32) + step)


def epoch_rows(count: int, batch_size: int, seed: int, step: int) -> Tensor:
    """(batch_size,) picture indices of a step: every picture once in each epoch, in a new order each time."""
    rows = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        order = torch.randperm(
            count, generator=torch.Generator().manual_seed((seed << 32) + position // count)
        )
        rows.append(order[position % count])
    return torch.stack(rows)


class LoraTrainer:
    """One training run in one folder; `train` resumes where a checkpoint left off."""

    def __init__(self, model: KolorsModel, recipe: LoraTraining, cache: TrainingCache, output: Path):
        self.model, self.recipe, self.cache, self.run = model, recipe, cache, RunFolder(output)
        self.step = 0
        self.losses: list[tuple[int, float]] = []
        self.accelerator = Accelerator(
            mixed_precision=mixed_precision(recipe.precision, model.device),
            cpu=model.device.type == "cpu",
            gradient_accumulation_steps=recipe.gradient_accumulation,
        )
        add_lora(model.unet, recipe.settings, generator=torch.Generator().manual_seed(recipe.seed))
        if recipe.gradient_checkpointing:
            model.unet.enable_gradient_checkpointing()
            model.unet.train()  # diffusers checkpoints only in training mode; Kolors has no dropout
        parameters = lora_parameters(model.unet)
        optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
        unet, self.optimizer = self.accelerator.prepare(model.unet, optimizer)
        self.prepared = replace(model, unet=unet)
        self._resume()

    def _resume(self) -> None:
        if state := self.run.resume(self.recipe):
            load_lora_state_dict(self.model.unet, state["lora"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.losses = state["step"], [tuple(pair) for pair in state["losses"]]

    def save(self) -> None:
        self.run.save(
            self.recipe,
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
            generator = step_generator(recipe.seed, micro)
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

    def sample(self) -> None:
        """Draw the fixed prompts with fixed seeds."""
        prompts = self.recipe.sample_prompts
        pictures = generate(
            self.model, prompts, range(len(prompts)), Sampling(size=self.recipe.size, steps=20)
        )
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
        bar = tqdm(range(self.step, recipe.steps), initial=self.step, total=recipe.steps, desc="LoRA")
        for _ in bar:
            loss = self.train_step()
            if not torch.isfinite(torch.tensor(loss)):
                raise CourseError(
                    f"the loss became {loss} at step {self.step}; the last checkpoint in {self.run.path} is still "
                    "good: lower the learning rate or use precision 32"
                )
            self.losses.append((self.step, loss))
            self.run.log(self.step, loss=loss, learning_rate=self.optimizer.param_groups[0]["lr"])
            bar.set_postfix(loss=f"{loss:.4f}")
            if progress:
                progress(self.step, loss)
            if self.step % recipe.checkpoint_every == 0 or self.step == recipe.steps:
                self.save()
            if recipe.sample_prompts and (self.step % recipe.sample_every == 0 or self.step == recipe.steps):
                self.sample()


def train_lora(
    model: KolorsModel,
    dataset_path: str | Path,
    output: str | Path,
    recipe: LoraTraining | None = None,
    *,
    command: str = "",
    progress: Callable[[int, float], None] | None = None,
) -> LoraResult:
    """Train a LoRA on a folder of pictures and captions and write `output/lora.safetensors`.

    The folder also receives log.jsonl, samples/ and checkpoint.pt; the same call resumes an interrupted run. The
    model is left without the LoRA.

    Raises:
        CourseError: see `read_dataset`, `build_cache`, `LoraTraining` and `RunFolder`.
    """
    recipe = recipe or LoraTraining()
    dataset = read_dataset(dataset_path)
    run = RunFolder(Path(output))
    size = recipe.size or (model.default_size, model.default_size)
    generator = torch.Generator().manual_seed(recipe.seed)
    cache = build_cache(model, dataset, size, recipe.center_crop, recipe.random_flip, generator)
    try:
        trainer = LoraTrainer(model, recipe, cache, run.path)
        trainer.train(progress)
        path = _write_lora(trainer, dataset, command)
    finally:
        unload_lora(model.unet)
        model.unet.eval().requires_grad_(False)
    return LoraResult(path, trainer.step, tuple(trainer.losses))


def _write_lora(trainer: LoraTrainer, dataset: Dataset, command: str) -> Path:
    recipe = asdict(trainer.recipe)
    recipe.pop("settings")
    return save_lora(
        trainer.run.path / "lora.safetensors",
        trainer.model.unet,
        trainer.recipe.settings,
        base_model=trainer.model.name,
        dataset_hash=dataset_hash(dataset),
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
