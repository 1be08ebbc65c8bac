"""Train Kolors-mini's U-Net and ChatGLM together on rendered scenes (DDPM objective, arXiv 2006.11239)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, KolorsPipeline
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from kolors_course.art import BASE_MODEL_STYLES, Scene, random_caption
from kolors_course.diffusion import NoiseSchedule
from kolors_course.files import atomic_path
from kolors_course.kolors.compact import enable_text_bias
from kolors_course.kolors.generate import Sampling, generate, time_ids
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import encode_ids, token_ids
from kolors_course.platform.device import pick_device
from kolors_course.training.mini import build_text_encoder, build_unet, carry_embeddings, kolors_scheduler
from kolors_course.training.objective import epsilon_loss
from kolors_course.training.pictures import PictureSpec, choose_scene, draw_pictures, to_model
from kolors_course.training.reading import FactReader, reading_loss
from kolors_course.training.run import RunFolder, autocast, warmup_cosine

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

    `scenes` are drawn in the default look and captioned without a style, `styled_scenes` in the styles that the
    base model knows, captioned with their names; a batch takes `styled_share` from those. `caption_dropout` is
    the share of empty captions, for classifier-free guidance; `reading_weight` multiplies the text encoder's
    extra loss (see `training.reading`).
    """

    steps: int = 4200
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: int = 300
    weight_decay: float = 0.01
    min_snr_gamma: float = 5.0
    caption_dropout: float = 0.1
    ema_decay: float = 0.999
    reading_weight: float = 0.05
    scenes: int = 40000
    styled_scenes: int = 24000
    styled_share: float = 0.4
    size: int = 64
    block_out_channels: tuple[int, int, int] = (64, 128, 192)
    transformer_layers: tuple[int, int, int] = (1, 1, 2)
    text_width: int = 192
    text_layers: int = 3
    seed: int = 0
    checkpoint_every: int = 250
    sample_every: int = 1000


class Ema:
    """Exponential moving average of weights, with a decay that grows from 0 as the average fills up."""

    def __init__(self, parameters: list[Tensor], decay: float):
        self.decay, self.parameters = decay, parameters
        self.average = [p.detach().clone() for p in parameters]

    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)

    def swap(self) -> None:
        """Exchange the average and the live weights; call again to go back."""
        for average, parameter in zip(self.average, self.parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.data.copy_(average)
            average.copy_(kept)


def encode_scenes(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Scaled posterior means (N, 4, h, w), half precision, of uint8 pictures."""
    latents = []
    with torch.no_grad():
        for batch in tqdm(pictures.split(200), desc="encoding"):
            mean = vae.encode(to_model(batch).to(vae.device)).latent_dist.mean
            latents.append((mean * vae.config.scaling_factor).half().cpu())
    return torch.cat(latents)


def build_model(config: BaseConfig, vae: AutoencoderKL, tokenizer) -> KolorsModel:
    """An untrained Kolors-mini around a trained VAE."""
    torch.manual_seed(config.seed)
    unet = build_unet(config.text_width, config.block_out_channels, config.transformer_layers)
    torch.nn.init.zeros_(unet.conv_out.weight)
    enable_text_bias(unet)
    text_encoder = build_text_encoder(tokenizer.vocab_size, config.text_width, config.text_layers)
    schedule = NoiseSchedule.from_scheduler_config(kolors_scheduler().config)
    return KolorsModel(unet, vae, text_encoder, tokenizer, schedule, "kolors-mini")


def _caption_ids(
    model: KolorsModel, pictures: list[tuple[Scene, str]], dropout: float, rng: np.random.Generator
) -> list[list[int]]:
    captions = [
        "" if rng.random() < dropout else random_caption(scene, rng, style) for scene, style in pictures
    ]
    return [token_ids(model.tokenizer, caption) for caption in captions]


def sample_sheet(
    model: KolorsModel, prompts: tuple[str, ...] = SAMPLE_PROMPTS, guidance_scale: float = 4.0
) -> Image.Image:
    """The fixed prompts with fixed seeds, eight in a row."""
    pictures = generate(model, prompts, range(len(prompts)), Sampling(20, guidance_scale, batch_size=16))
    width, height = pictures[0].size
    sheet = Image.new("RGB", (8 * width, -(-len(pictures) // 8) * height))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, ((i % 8) * width, (i // 8) * height))
    return sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.BICUBIC)


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
        self.ema = Ema(self.parameters, config.ema_decay)
        self.reader = FactReader(config.text_width).to(self.device)
        self.reader_optimizer = torch.optim.AdamW(self.reader.parameters(), lr=config.learning_rate)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step = 0
        self._resume()

    def _resume(self) -> None:
        if state := self.run.resume(self.config):
            self.model.unet.load_state_dict(state["unet"])
            self.model.text_encoder.load_state_dict(state["text_encoder"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.reader.load_state_dict(state["reader"])
            self.reader_optimizer.load_state_dict(state["reader_optimizer"])
            self.ema.average = state["ema"]
            self.generator.set_state(state["generator"])
            self.step = state["step"]

    def start_from(self, model: KolorsModel) -> None:
        """Take over the weights of a trained model; optimizer, average and schedule begin anew."""
        self.model.unet.load_state_dict(model.unet.state_dict())
        self.model.text_encoder.load_state_dict(model.text_encoder.state_dict())
        words = self.model.text_encoder.embedding.word_embeddings.weight
        words.data.copy_(carry_embeddings(words.detach(), model.tokenizer, self.model.tokenizer))
        self.ema = Ema(self.parameters, self.config.ema_decay)

    def save(self) -> None:
        self.run.save(
            self.config,
            unet=self.model.unet.state_dict(),
            text_encoder=self.model.text_encoder.state_dict(),
            optimizer=self.optimizer.state_dict(),
            reader=self.reader.state_dict(),
            reader_optimizer=self.reader_optimizer.state_dict(),
            ema=self.ema.average,
            generator=self.generator.get_state(),
            step=self.step,
        )

    def _draw_rows(self) -> Tensor:
        """(batch_size,) pictures: the styled ones lie behind the others."""
        config, size = self.config, (self.config.batch_size,)
        plain = torch.randint(config.scenes, size, generator=self.generator)
        styled = config.scenes + torch.randint(config.styled_scenes, size, generator=self.generator)
        return torch.where(torch.rand(size, generator=self.generator) < config.styled_share, styled, plain)

    def train_step(self, latents: Tensor, pictures: list[tuple[Scene, str]]) -> tuple[float, float]:
        """One step; returns the diffusion loss and the reading loss."""
        config = self.config
        rate = config.learning_rate * warmup_cosine(self.step, config.steps, config.warmup, floor=0.01)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rng = np.random.default_rng((config.seed, self.step))
        rows = self._draw_rows()
        chosen = [pictures[i] for i in rows]
        ids = _caption_ids(self.model, chosen, config.caption_dropout, rng)
        told = torch.tensor(
            [len(row) > 2 for row in ids], device=self.device
        )  # an empty caption is only the prefix
        add_time_ids = time_ids(config.size, config.size).to(self.device).expand(config.batch_size, -1)
        with autocast(self.device):
            prompts = encode_ids(self.model.text_encoder, ids)
            loss = epsilon_loss(
                self.model,
                latents[rows].to(self.device).float(),
                prompts,
                add_time_ids,
                self.generator,
                config.min_snr_gamma,
            )
            reading = reading_loss(self.reader, prompts, [scene for scene, _ in chosen], told)
        for optimizer in (self.optimizer, self.reader_optimizer):
            optimizer.zero_grad(set_to_none=True)
        (loss + config.reading_weight * reading).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in (self.optimizer, self.reader_optimizer):
            optimizer.step()
        self.ema.update(self.step)
        self.step += 1
        return loss.item(), reading.item()

    def sample(self) -> None:
        self.ema.swap()
        for part in (self.model.unet, self.model.text_encoder):
            part.eval()
        with atomic_path(self.run.path / f"samples-{self.step:06d}.png") as path:
            sample_sheet(self.model).save(path)
        for part in (self.model.unet, self.model.text_encoder):
            part.train()
        self.ema.swap()

    def train(self, latents: Tensor, pictures: list[tuple[Scene, str]]) -> KolorsModel:
        """Train to the end of the recipe; the returned model carries the averaged weights."""
        config, recent = self.config, []
        progress = tqdm(range(self.step, config.steps), initial=self.step, total=config.steps, desc="U-Net")
        for _ in progress:
            recent.append(self.train_step(latents, pictures))
            if self.step % 25 == 0:
                loss, reading = np.mean(recent, axis=0)
                self.run.log(self.step, loss=loss, reading=reading)
                progress.set_postfix(loss=f"{loss:.4f}", reading=f"{reading:.3f}")
                recent = []
            if self.step % config.checkpoint_every == 0 or self.step == config.steps:
                self.save()
            if self.step % config.sample_every == 0 or self.step == config.steps:
                self.sample()
        self.ema.swap()
        return self.model


def train_base(
    config: BaseConfig, vae: AutoencoderKL, tokenizer, output: Path, start: KolorsModel | None = None
) -> KolorsModel:
    """Render and encode the scenes (once; they are kept in `output`), then train or resume.

    Args:
        start: a finished model to train further, with the same VAE; None starts from nothing.
    """
    trainer = BaseTrainer(config, vae.eval().requires_grad_(False), tokenizer, output)
    if start and trainer.step == 0:
        trainer.start_from(start)
    colour = PictureSpec(config.scenes, config.seed + 10, config.size)
    styled = PictureSpec(
        config.styled_scenes,
        config.seed + 20,
        config.size,
        1.0,
        style_subjects="all",
        styles=BASE_MODEL_STYLES,
    )
    latents, pictures = [], []
    for name, spec in (("latents", colour), ("latents-styled", styled)):
        cache = trainer.run.path / f"{name}.pt"
        if not cache.is_file():
            drawn, _, _ = draw_pictures(spec)
            with atomic_path(cache) as path:
                torch.save(encode_scenes(vae, drawn), path)
        latents.append(torch.load(cache, weights_only=True))
        pictures += [choose_scene(spec, i) for i in range(spec.count)]
    return trainer.train(torch.cat(latents), pictures)


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
