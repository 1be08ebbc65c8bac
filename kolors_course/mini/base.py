"""Train Kolors-mini's U-Net and ChatGLM together on rendered scenes (DDPM objective, arXiv 2006.11239)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from tqdm.auto import tqdm

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors.compact import enable_text_bias
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import encode_rows, token_ids
from kolors_course.kolors.unet import conditioning_of, time_ids, unet_noise
from kolors_course.mini.networks import build_text_encoder, build_unet, kolors_scheduler
from kolors_course.mini.pictures import PictureStore
from kolors_course.mini.reading import FactReader, reading_loss
from kolors_course.mini.samples import sample_sheet
from kolors_course.mini.scenes import SceneMaterial, captioned_scenes
from kolors_course.mini.tokenizer import carry_embeddings
from kolors_course.platform.device import pick_device
from kolors_course.training.checkpoint import restoring
from kolors_course.training.learning import Material, Training, parameters_of
from kolors_course.training.limits import check_numbers
from kolors_course.training.losses import masked_mean
from kolors_course.training.recorded import recorded_pass
from kolors_course.training.run import RunFolder, autocast, warmup_cosine

LOG_EVERY = 25  # steps
PARTS = ("unet", "text_encoder", "reader", "optimizer", "average")
CONTENTS = {**dict.fromkeys(PARTS, dict), "generator": Tensor, "step": int}  # of a checkpoint
FLAGS = {
    "steps": "--base-steps",
    "learning_rate": "--learning-rate",
    "pictures": "--pictures",
    "styled_share": "--styled-share",
}


@dataclass(frozen=True)
class BaseConfig:
    """How U-Net and ChatGLM are trained together, and on how many pictures.

    Of the first `pictures` of the store, those in the default look are captioned without a style, those in the
    styles that the base model knows with their names; a batch takes `styled_share` from the latter. `captions` is
    how many each scene has, `caption_dropout` the share of empty ones, for classifier-free guidance;
    `reading_weight` multiplies the text encoder's extra loss (see `mini.reading`). The saved weights are an
    average over about the last `ema_share` of the steps: a longer memory would reach back to rough weights.
    """

    steps: int = 4200
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: int = 300
    weight_decay: float = 0.01
    min_snr_gamma: float = 5.0
    caption_dropout: float = 0.1
    ema_share: float = 0.05
    reading_weight: float = 0.05
    pictures: int = 64000
    captions: int = 8
    styled_share: float = 0.4
    size: int = 128
    block_out_channels: tuple[int, int, int] = (96, 128, 192)
    transformer_layers: tuple[int, int, int] = (1, 1, 2)
    text_width: int = 192
    text_layers: int = 3
    seed: int = 0
    checkpoint_every: int = 250
    sample_every: int = 1000

    def __post_init__(self) -> None:
        check_numbers(self)

    @property
    def ema_decay(self) -> float:
        """What the average keeps of itself in each step."""
        return 1 - 1 / max(1.0, self.ema_share * self.steps)


def build_model(config: BaseConfig, vae: AutoencoderKL, tokenizer: ChatGLMTokenizer) -> KolorsModel:
    """An untrained Kolors-mini around a trained VAE."""
    torch.manual_seed(config.seed)
    unet = build_unet(
        config.text_width,
        config.block_out_channels,
        config.transformer_layers,
        latent_channels=vae.config.latent_channels,
    )
    torch.nn.init.zeros_(unet.conv_out.weight)
    enable_text_bias(unet)
    text_encoder = build_text_encoder(tokenizer.vocab_size, config.text_width, config.text_layers)
    schedule = NoiseSchedule.from_scheduler_config(kolors_scheduler().config)
    return KolorsModel(unet, vae, text_encoder, tokenizer, schedule, "kolors-mini")


class BaseLearner:
    """U-Net and text encoder, and the `reader` that helps the latter to learn; its heads are thrown away."""

    def __init__(self, model: KolorsModel, reader: FactReader):
        self.model, self.reader = model, reader

    @property
    def module(self) -> nn.Module:
        """The U-Net, which runs forward in every step."""
        return self.model.unet

    def groups(self) -> list[dict[str, Any]]:
        """What is kept, and the reader's heads. Kolors never uses ChatGLM's language-model head."""
        head = self.model.text_encoder.output_layer.weight
        kept = [*self.model.unet.parameters(), *self.model.text_encoder.parameters()]
        return [
            {"params": [parameter for parameter in kept if parameter is not head], "betas": (0.9, 0.99)},
            {"params": list(self.reader.parameters()), "weight_decay": 0.01},
        ]

    def state(self) -> dict[str, Any]:
        """The weights of U-Net, text encoder and reader."""
        return {
            "unet": self.model.unet.state_dict(),
            "text_encoder": self.model.text_encoder.state_dict(),
            "reader": self.reader.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over the weights that `state` returned."""
        self.model.unet.load_state_dict(state["unet"])
        self.model.text_encoder.load_state_dict(state["text_encoder"])
        self.reader.load_state_dict(state["reader"])

    def start_from(self, model: KolorsModel) -> None:
        """Take over the weights of a trained model.

        Raises:
            CourseError: its U-Net is of another size.
        """
        own = self.model
        before, now = (_size_of(each) for each in (model.unet, own.unet))
        if before != now:
            raise CourseError(f"the recipe makes a U-Net of {now}, and that to go on from is one of {before}")
        own.unet.load_state_dict(model.unet.state_dict())
        own.text_encoder.load_state_dict(model.text_encoder.state_dict())
        words = own.text_encoder.embedding.word_embeddings.weight
        words.data.copy_(carry_embeddings(words.detach(), model.tokenizer, own.tokenizer))


def _size_of(unet: UNet2DConditionModel) -> str:
    widths = "/".join(map(str, unet.config.block_out_channels))
    return f"widths {widths} for {unet.config.in_channels} latent channels"


@dataclass(frozen=True)
class BaseObjective:
    """Two losses: of the predicted noise, weighted by timestep, and of the reading. See `SceneMaterial` for the rest.

    Attributes:
        add_time_ids: (6,), the same for every picture.
    """

    reader: FactReader
    reading_weight: float
    add_time_ids: Tensor

    def __call__(
        self,
        model: KolorsModel,
        noisy: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        weight: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        told: Tensor,
        **truth: Tensor,
    ) -> dict[str, Tensor]:
        with autocast(noisy.device):
            prompts = encode_rows(model.text_encoder, input_ids, lengths)
            ids = self.add_time_ids.expand(len(noisy), -1)
            predicted = unet_noise(model, noisy, timesteps, conditioning_of(prompts, ids))
            reading = reading_loss(self.reader, prompts, truth, told)
        error = masked_mean((predicted.float() - noise).square(), None)
        return {"loss": torch.mean(weight * error), "reading": self.reading_weight * reading}


def train_base(
    config: BaseConfig,
    vae: AutoencoderKL,
    tokenizer: ChatGLMTokenizer,
    store: PictureStore,
    output: Path,
    start: KolorsModel | None = None,
) -> KolorsModel:
    """Encode the pictures (once; the latents are kept in `output`), then train or resume.

    The returned model carries the averaged weights.

    Args:
        start: a finished model to train further; None starts from nothing.

    Raises:
        CourseError: all or none of the pictures have a style, or `start` is of another size; or see
            `RunFolder.resume`.
    """
    run, device = RunFolder(output), pick_device()
    model = build_model(config, vae.eval().requires_grad_(False), tokenizer)
    if start:
        model = replace(model, sampling=start.sampling)
    for part in (model.unet, model.vae, model.text_encoder):
        part.to(device)
    learner = BaseLearner(model, FactReader(config.text_width).to(device))
    generator = torch.Generator().manual_seed(config.seed)
    state = run.resume(config, CONTENTS, FLAGS)
    if start and not state:
        learner.start_from(start)
    cache = run.path / "scenes.pt"
    scenes = captioned_scenes(store, config.pictures, config.captions, vae, tokenizer, cache).to(device)
    material = SceneMaterial(
        scenes,
        model.schedule,
        token_ids(tokenizer, ""),
        generator,
        config.batch_size,
        config.caption_dropout,
        config.styled_share,
        config.min_snr_gamma,
    )
    training = base_training(learner, material, config, device)
    if state:
        with restoring(run.checkpoint):
            learner.load(state)
            training.load(state)
            generator.set_state(state["generator"])
    _run(training, config, run, generator)
    if training.average:
        training.average.copy_to(parameters_of(learner))
    return model


def base_training(
    learner: BaseLearner, material: Material, config: BaseConfig, device: torch.device
) -> Training:
    """The learner with its optimizer and its pass, before the first step."""
    groups = learner.groups()
    optimizer = torch.optim.AdamW(
        groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    ids = time_ids(config.size, config.size).to(device)
    objective = BaseObjective(learner.reader, config.reading_weight, ids)

    def rates(step: int) -> tuple[float, float]:
        factor = warmup_cosine(step, config.steps, config.warmup, floor=0.01)
        return config.learning_rate * factor, config.learning_rate

    return Training(
        learner,
        recorded_pass(learner, objective, material, device),
        optimizer,
        rates,
        clip=lambda: torch.nn.utils.clip_grad_norm_(groups[0]["params"], 1.0),
        average=EMAModel(parameters_of(learner), decay=config.ema_decay, foreach=True),
    )


def _run(training: Training, config: BaseConfig, run: RunFolder, generator: torch.Generator) -> None:
    """To the last step, with a log, checkpoints and samples."""
    steps = training.steps(lambda: training.step >= config.steps)
    sums: dict[str, Tensor] = {}
    progress = tqdm(steps, initial=training.step, total=config.steps, desc="U-Net")
    for losses in progress:
        sums = {key: sums.get(key, 0) + loss / LOG_EVERY for key, loss in losses.items()}
        if training.step % LOG_EVERY == 0:
            run.log(training.step, **sums)
            progress.set_postfix({key: f"{float(value):.4f}" for key, value in sums.items()})
            sums = {}
        if training.step % config.checkpoint_every == 0 or training.step == config.steps:
            kept = {**training.learner.state(), **training.state(), "generator": generator.get_state()}
            run.save(config, **kept)
        if training.step % config.sample_every == 0 or training.step == config.steps:
            _sample(training, run)


def _sample(training: Training, run: RunFolder) -> None:
    model = training.learner.model
    networks = (model.unet, model.text_encoder)
    for network in networks:
        network.eval()
    with training.averaged(), atomic_path(run.path / f"samples-{training.step:06d}.png") as path:
        sample_sheet(model).save(path)
    for network in networks:
        network.train()
