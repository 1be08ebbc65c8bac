"""Train Kolors-mini's U-Net and ChatGLM together on rendered scenes (DDPM objective, arXiv 2006.11239)."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, KolorsPipeline
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.kolors.compact import enable_text_bias
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import encode_rows, token_ids
from kolors_course.kolors.sampling import Sampling, generate
from kolors_course.kolors.unet import conditioning_of, time_ids, unet_noise
from kolors_course.mini.networks import build_text_encoder, build_unet, kolors_scheduler
from kolors_course.mini.pictures import PictureStore
from kolors_course.mini.reading import FactReader, reading_loss
from kolors_course.mini.recorded import RecordedPass, to_device
from kolors_course.mini.scenes import CaptionedScenes, captioned_scenes, padded_ids
from kolors_course.mini.tokenizer import carry_embeddings
from kolors_course.platform.device import pick_device
from kolors_course.training.average import averaged
from kolors_course.training.checkpoint import restoring
from kolors_course.training.limits import check_numbers
from kolors_course.training.losses import masked_mean
from kolors_course.training.objective import draw_noise
from kolors_course.training.run import RunFolder, autocast, warmup_cosine

LOG_EVERY = 25  # steps
NETWORKS = ("unet", "text_encoder", "optimizer", "reader", "reader_optimizer", "ema")
CONTENTS = {**dict.fromkeys(NETWORKS, dict), "generator": Tensor, "step": int}  # of a checkpoint
FLAGS = {
    "steps": "--base-steps",
    "learning_rate": "--learning-rate",
    "pictures": "--pictures",
    "styled_share": "--styled-share",
}
SAMPLE_PROMPTS = (
    "a rabbit on a snowy field at night",
    "夜晚雪地上的一只兔子",
    "a big elephant on the grass in the daytime, on the left",
    "白天草地上的一头大大的大象，在左边",
    "a car and a house in the city at sunset",
    "黄昏城市里的一辆汽车和一座房子",
    "a rocket in outer space",
    "太空中的一枚火箭",
    "a small penguin on the beach in the daytime, on the right",
    "白天沙滩上的一只小小的企鹅，在右边",
    "a cat in a room in the daytime",
    "白天房间里的一只猫",
    "a sailboat on the sea at sunset",
    "黄昏海面上的一艘帆船",
    "dinosaur, desert, night",
    "恐龙，森林，白天",
    "a rabbit on a snowy field at night, line art style",
    "a rabbit on a snowy field at night, woodcut style",
    "蓝图风格，白天沙滩上的一只小小的企鹅，在右边",
    "霓虹风格，黄昏城市里的一辆汽车和一座房子",
    "an elephant on the grass in the daytime, line art style",
    "木刻风格，白天草地上的一头大象",
    "a rocket in outer space, blueprint style",
    "夜晚森林里的一只猫头鹰，霓虹风格",
)


@dataclass(frozen=True)
class BaseConfig:
    """The recipe.

    Of the first `pictures` of the store, those in the default look are captioned without a style, those in the
    styles that the base model knows with their names; a batch takes `styled_share` from the latter. `captions` is
    how many each scene has, `caption_dropout` the share of empty ones, for classifier-free guidance;
    `reading_weight` multiplies the text encoder's extra loss (see `training.reading`). The saved weights are an
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


def build_model(config: BaseConfig, vae: AutoencoderKL, tokenizer) -> KolorsModel:
    """An untrained Kolors-mini around a trained VAE."""
    torch.manual_seed(config.seed)
    unet = build_unet(config.text_width, config.block_out_channels, config.transformer_layers)
    torch.nn.init.zeros_(unet.conv_out.weight)
    enable_text_bias(unet)
    text_encoder = build_text_encoder(tokenizer.vocab_size, config.text_width, config.text_layers)
    schedule = NoiseSchedule.from_scheduler_config(kolors_scheduler().config)
    return KolorsModel(unet, vae, text_encoder, tokenizer, schedule, "kolors-mini")


def sample_sheet(
    model: KolorsModel, prompts: tuple[str, ...] = SAMPLE_PROMPTS, guidance_scale: float = 4.0
) -> Image.Image:
    """The fixed prompts with fixed seeds, eight in a row."""
    pictures = generate(model, prompts, range(len(prompts)), Sampling(20, guidance_scale, batch_size=16))
    width, height = pictures[0].size
    sheet = Image.new("RGB", (8 * width, -(-len(pictures) // 8) * height))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, ((i % 8) * width, (i // 8) * height))
    return sheet


class BaseTrainer:
    """State of one training run: model, optimizer, average and random generators."""

    def __init__(self, config: BaseConfig, vae: AutoencoderKL, tokenizer, output: Path):
        self.config, self.run = config, RunFolder(output)
        self.device = pick_device()
        self.model = build_model(config, vae, tokenizer)
        for part in (self.model.unet, self.model.vae, self.model.text_encoder):
            part.to(self.device)
        self.parameters = [*self.model.unet.parameters(), *self.model.text_encoder.parameters()]
        self.parameters = [p for p in self.parameters if p is not self.model.text_encoder.output_layer.weight]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.ema = self._new_average()
        self.reader = FactReader(config.text_width).to(self.device)
        learning = [*self.parameters, *self.reader.parameters()]
        self.record = RecordedPass(self.losses, learning, self.device)
        self.empty = token_ids(tokenizer, "")
        self.add_time_ids = time_ids(config.size, config.size).to(self.device)
        self.reader_optimizer = torch.optim.AdamW(self.reader.parameters(), lr=config.learning_rate)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step = 0
        self._resume()

    def _resume(self) -> None:
        state = self.run.resume(self.config, CONTENTS, FLAGS)
        if not state:
            return
        with restoring(self.run.checkpoint):
            self.model.unet.load_state_dict(state["unet"])
            self.model.text_encoder.load_state_dict(state["text_encoder"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.reader.load_state_dict(state["reader"])
            self.reader_optimizer.load_state_dict(state["reader_optimizer"])
            self.ema.load_state_dict(state["ema"])
            self.ema.to(self.device)
            self.generator.set_state(state["generator"])
            self.step = state["step"]

    def start_from(self, model: KolorsModel) -> None:
        """Take over the weights of a trained model; optimizer, average and schedule begin anew."""
        self.model.unet.load_state_dict(model.unet.state_dict())
        self.model.text_encoder.load_state_dict(model.text_encoder.state_dict())
        words = self.model.text_encoder.embedding.word_embeddings.weight
        words.data.copy_(carry_embeddings(words.detach(), model.tokenizer, self.model.tokenizer))
        self.ema = self._new_average()

    def _new_average(self) -> EMAModel:
        return EMAModel(self.parameters, decay=self.config.ema_decay, foreach=True)

    def save(self) -> None:
        self.run.save(
            self.config,
            unet=self.model.unet.state_dict(),
            text_encoder=self.model.text_encoder.state_dict(),
            optimizer=self.optimizer.state_dict(),
            reader=self.reader.state_dict(),
            reader_optimizer=self.reader_optimizer.state_dict(),
            ema=self.ema.state_dict(),
            generator=self.generator.get_state(),
            step=self.step,
        )

    def losses(self, noisy, noise, timesteps, weight, input_ids, lengths, told, **truth) -> dict[str, Tensor]:
        """The two losses of a batch: of the predicted noise, weighted by timestep, and of the reading."""
        ids = self.add_time_ids.expand(len(noisy), -1)
        with autocast(self.device):
            prompts = encode_rows(self.model.text_encoder, input_ids, lengths)
            predicted = unet_noise(self.model, noisy, timesteps, conditioning_of(prompts, ids))
            reading = reading_loss(self.reader, prompts, truth, told)
        error = masked_mean((predicted.float() - noise).square(), None)
        return {"loss": torch.mean(weight * error), "reading": self.config.reading_weight * reading}

    def batch(self, scenes: CaptionedScenes) -> dict[str, Tensor]:
        """What `losses` takes, for random scenes. Everything random is drawn on the CPU, whatever the device."""
        config, count = self.config, self.config.batch_size
        rows = self._draw_rows(count)
        caption = torch.randint(scenes.lengths.shape[1], (count,), generator=self.generator)
        told = torch.rand(count, generator=self.generator) >= config.caption_dropout
        rows, caption, told = (to_device(x, self.device) for x in (rows, caption, told))
        latents = scenes.latents[rows].float()
        noise, timesteps = draw_noise(
            torch.empty(latents.shape), self.model.schedule.num_train_timesteps, self.generator
        )
        noise = to_device(noise, self.device)
        empty = torch.tensor(padded_ids(self.empty), dtype=torch.int16)
        input_ids = torch.where(told[:, None], scenes.input_ids[rows, caption], to_device(empty, self.device))
        return {
            "noisy": self.model.schedule.add_noise(latents, noise, timesteps),
            "noise": noise,
            "timesteps": to_device(timesteps, self.device),
            "weight": to_device(
                self.model.schedule.min_snr_weight(timesteps, config.min_snr_gamma), self.device
            ),
            "input_ids": input_ids.long(),
            "lengths": torch.where(told, scenes.lengths[rows, caption].long(), len(self.empty)),
            "told": told.float(),
        } | {key: value[rows] for key, value in scenes.truth.items()}

    def _draw_rows(self, count: int) -> Tensor:
        """(count,) numbers of scenes, `styled_share` of them styled."""
        plain, styled = (
            pool[torch.randint(len(pool), (count,), generator=self.generator)] for pool in self.pools
        )
        return torch.where(
            torch.rand(count, generator=self.generator) < self.config.styled_share, styled, plain
        )

    def train_step(self, scenes: CaptionedScenes) -> dict[str, Tensor]:
        """One step; returns the losses."""
        config = self.config
        rate = config.learning_rate * warmup_cosine(self.step, config.steps, config.warmup, floor=0.01)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = self.record(**self.batch(scenes))
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in (self.optimizer, self.reader_optimizer):
            optimizer.step()
        self.ema.step(self.parameters)
        self.step += 1
        return losses

    def sample(self) -> None:
        for part in (self.model.unet, self.model.text_encoder):
            part.eval()
        with (
            averaged(self.ema, self.parameters),
            atomic_path(self.run.path / f"samples-{self.step:06d}.png") as path,
        ):
            sample_sheet(self.model).save(path)
        for part in (self.model.unet, self.model.text_encoder):
            part.train()

    def train(self, scenes: CaptionedScenes) -> KolorsModel:
        """Train to the end of the recipe; the returned model carries the averaged weights."""
        config, sums = self.config, {}
        styled = scenes.styled.cpu()
        self.pools = ((~styled).nonzero()[:, 0], styled.nonzero()[:, 0])
        if not all(map(len, self.pools)):
            raise CourseError(
                f"{config.pictures} pictures are too few: all or none of them have a style; take more"
            )
        scenes = scenes.to(self.device)
        progress = tqdm(range(self.step, config.steps), initial=self.step, total=config.steps, desc="U-Net")
        for _ in progress:
            losses = self.train_step(scenes)
            sums = {key: sums.get(key, 0) + loss / LOG_EVERY for key, loss in losses.items()}
            if self.step % LOG_EVERY == 0:
                self.run.log(self.step, **sums)
                progress.set_postfix({key: f"{float(value):.4f}" for key, value in sums.items()})
                sums = {}
            if self.step % config.checkpoint_every == 0 or self.step == config.steps:
                self.save()
            if self.step % config.sample_every == 0 or self.step == config.steps:
                self.sample()
        self.ema.copy_to(self.parameters)
        return self.model


def train_base(
    config: BaseConfig,
    vae: AutoencoderKL,
    tokenizer,
    store: PictureStore,
    output: Path,
    start: KolorsModel | None = None,
) -> KolorsModel:
    """Encode the pictures (once; the latents are kept in `output`), then train or resume.

    Args:
        start: a finished model to train further; None starts from nothing.
    """
    trainer = BaseTrainer(config, vae.eval().requires_grad_(False), tokenizer, output)
    if start and trainer.step == 0:
        trainer.start_from(start)
    cache = trainer.run.path / "scenes.pt"
    scenes = captioned_scenes(store, config.pictures, config.captions, trainer.model.vae, tokenizer, cache)
    return trainer.train(scenes)


def save_mini(model: KolorsModel, folder: Path) -> None:
    """Write the diffusers directory: U-Net and VAE in half precision.

    The text encoder stays in single precision: transformers loads it in the type it finds, and stock
    `KolorsPipeline.from_pretrained(folder)` would otherwise mix half and single precision.
    """
    parts = replace(model, unet=model.unet.half(), vae=model.vae.half())
    KolorsPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=kolors_scheduler(),
        force_zeros_for_empty_prompt=False,
    ).save_pretrained(folder)
    for path in folder.glob("*/config.json"):  # where a part was loaded from is nobody else's path
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
