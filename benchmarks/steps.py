"""One LoRA training step, three ways, on the same pictures, LoRA, precision and optimizer settings.

* camp: DiffSynth-Studio's step of the summer camp. Text encoder and VAE run in every step, prompts padded to 256
  tokens, one timestep for the whole batch.
* plain: the step of diffusers' example scripts with both caches: latents and padded prompts are computed once.
* ours: the step of `kolors-course train-lora`, whatever it does.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from kolors_course.dataset import open_picture, prepare_image, read_dataset
from kolors_course.kolors import Profile, encode_prompts_padded, load_profile, time_ids
from kolors_course.lora import add_lora, lora_parameters
from kolors_course.training.data import encode_training_data
from kolors_course.training.distributed import make_accelerator
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.run import RunFolder, autocast
from kolors_course.training.trainer import LoraTrainer


class StockTraining:
    """What the camp's step and the plain step share: stock U-Net and VAE of diffusers, a LoRA, AdamW."""

    def __init__(self, profile: Profile, dataset: Path, recipe: LoraTraining):
        model = load_profile(profile)
        self.device, self.recipe, self.model = model.device, recipe, model
        self.unet = UNet2DConditionModel.from_pretrained(profile.folder, subfolder="unet").to(self.device)
        self.vae = AutoencoderKL.from_pretrained(profile.folder, subfolder="vae").to(self.device)
        self.vae.requires_grad_(False)
        self.scheduler = DDPMScheduler.from_pretrained(profile.folder, subfolder="scheduler")
        add_lora(self.unet, recipe.settings, generator=torch.Generator().manual_seed(recipe.seed))
        self.parameters = lora_parameters(self.unet)
        self.optimizer = torch.optim.AdamW(self.parameters, recipe.learning_rate)
        samples = read_dataset(dataset).samples
        self.captions = [sample.text for sample in samples]
        self.pixels = torch.stack([self._pixels(sample.path, profile.size) for sample in samples])
        ids = time_ids(profile.size, profile.size).to(self.device)
        self.add_time_ids = ids.expand(recipe.batch_size, -1)
        self.generator = torch.Generator().manual_seed(recipe.seed)

    def _pixels(self, path: Path, size: int) -> Tensor:
        no_chance = torch.Generator()  # cropped in the middle and not mirrored: nothing is drawn
        return prepare_image(open_picture(path), size, size, True, False, no_chance)[0]

    @torch.no_grad()
    def encode_pictures(self, pixels: Tensor) -> Tensor:
        mean = self.vae.encode(pixels.to(self.device)).latent_dist.mean
        return mean * self.vae.config.scaling_factor

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """(B, 256, width) rows and (B, width) pooled."""
        prompts = encode_prompts_padded(self.model.tokenizer, self.model.text_encoder, texts)
        return prompts.prompt_embeds, prompts.pooled_prompt_embeds

    def rows(self) -> Tensor:
        return torch.randint(len(self.captions), (self.recipe.batch_size,), generator=self.generator)

    def learn(self, latents: Tensor, timesteps: Tensor, rows: Tensor, pooled: Tensor) -> float:
        noise = torch.randn(latents.shape, generator=self.generator).to(latents)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        conditions = {"text_embeds": pooled, "time_ids": self.add_time_ids}
        with autocast(self.device):
            predicted = self.unet(noisy, timesteps, rows, added_cond_kwargs=conditions).sample
        loss = F.mse_loss(predicted.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def camp_step(training: StockTraining) -> Callable[[], float]:
    total = training.scheduler.config.num_train_timesteps

    def step() -> float:
        rows = training.rows()
        with autocast(training.device):
            texts, pooled = training.encode_texts([training.captions[i] for i in rows])
            latents = training.encode_pictures(training.pixels[rows]).float()
        timestep = torch.randint(total, (1,), generator=training.generator).to(training.device)
        return training.learn(latents, timestep.expand(len(rows)), texts, pooled)

    return step


def plain_step(training: StockTraining) -> Callable[[], float]:
    texts, pooled = training.encode_texts(training.captions)
    latents = training.encode_pictures(training.pixels)
    total = training.scheduler.config.num_train_timesteps

    def step() -> float:
        rows = training.rows()
        timesteps = torch.randint(total, rows.shape, generator=training.generator).to(training.device)
        return training.learn(latents[rows], timesteps, texts[rows], pooled[rows])

    return step


def our_step(profile: Profile, dataset: Path, recipe: LoraTraining, folder: Path) -> Callable[[], float]:
    model = load_profile(profile)
    accelerator = make_accelerator(recipe, model.device)
    data = encode_training_data(model, read_dataset(dataset), None, recipe)
    return LoraTrainer(model, recipe, data, RunFolder(folder), accelerator, {}).train_step


def training_steps(
    profile: Profile, dataset: Path, recipe: LoraTraining, folder: Path
) -> dict[str, Callable[[], float]]:
    """The three steps by name. They all really train: no step is repeated on the same numbers.

    Args:
        folder: an empty one, for what our trainer writes.
    """
    stock = [StockTraining(profile, dataset, recipe) for _ in range(2)]
    return {
        "camp": camp_step(stock[0]),
        "plain": plain_step(stock[1]),
        "ours": our_step(profile, dataset, recipe, folder),
    }
