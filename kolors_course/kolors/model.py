"""A Kolors model: U-Net, VAE, ChatGLM, tokenizer and noise schedule, whatever their size."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.kolors.layouts import ModelPaths, diffusers_layout, read_model_config, three_paths
from kolors_course.kolors.parts import PARTS, PartLoader, explained, fill, is_meta
from kolors_course.kolors.quantize import check_quantization, quantization_of
from kolors_course.kolors.settings import PUBLISHED, Sampling, read_sampling

__all__ = ["KolorsModel", "ModelPaths", "diffusers_layout", "load_model", "three_paths"]


@dataclass(frozen=True)
class KolorsModel:
    """The parts of a Kolors model, in evaluation mode and without gradients, and the name it was loaded by.

    `sampling` is how it is drawn where nobody says otherwise. With a `loader`, the networks may be without weights
    until `fetch` brings them in.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: ChatGLMModel
    tokenizer: ChatGLMTokenizer
    schedule: NoiseSchedule
    name: str
    loader: PartLoader | None = None
    sampling: Sampling = PUBLISHED

    @property
    def device(self) -> torch.device:
        return self.loader.device if self.loader else self.unet.device

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent cell along one side: 8 for Kolors."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def latent_channels(self) -> int:
        """Channels of latents: 4 for Kolors. A U-Net made for inpainting takes more than these."""
        return self.unet.config.out_channels

    @property
    def default_size(self) -> int:
        """Side in pixels of the pictures the model was trained on."""
        return self.unet.config.sample_size * self.vae_scale_factor

    @property
    def size_multiple(self) -> int:
        """Picture sides must be divisible by this: the VAE's factor times the U-Net's own halvings."""
        return self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)

    @property
    def quantization(self) -> str | None:
        """How the U-Net's linear layers are kept, or will be once they are fetched; None for plain weights."""
        return self.loader.quantize if self.loader else quantization_of(self.unet)

    def fetch(self, part: str) -> None:
        """Load "unet", "vae" or "text_encoder" if it has no weights, because it was not wanted yet or was freed.

        Raises:
            CourseError: the part was freed and the model does not know where it came from, or it is damaged.
        """
        module = getattr(self, part)
        if not is_meta(module):
            return
        if self.loader is None:
            raise CourseError(f"the {part} was freed to save memory; load the model again to use it")
        fill(module, self.loader.load(part))

    def free(self, part: str) -> None:
        """Give back the memory of "unet", "vae" or "text_encoder", for everyone who holds it."""
        getattr(self, part).to("meta")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def load_model(
    paths: str | Path | ModelPaths,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    variant: str | None = None,
    *,
    vae_dtype: torch.dtype | None = None,
    quantize: str | None = None,
    phased: bool = False,
) -> KolorsModel:
    """Load a model from a diffusers directory, or from where `paths` says.

    Args:
        variant: "fp16" prefers weight files that carry that name, None those that carry none; a folder that
            has only the other kind is read all the same.
        vae_dtype: another type for the VAE; Kolors' own overflows in float16.
        quantize: keep the U-Net's linear layers in "nf4" or "int8" (needs bitsandbytes).
        phased: leave each network on the disk until `KolorsModel.fetch` asks for it.

    Raises:
        CourseError: a part is missing or damaged, sampling.json is damaged, or `quantize` cannot be had here.
    """
    if not isinstance(paths, ModelPaths):
        paths = diffusers_layout(paths)
    sampling = read_sampling(paths.sampling)
    check_quantization(quantize)
    loader = PartLoader(paths, torch.device(device), dtype, variant, vae_dtype, quantize)
    networks = {part: loader.skeleton(part) if phased else loader.load(part) for part in PARTS}
    if not isinstance(networks["unet"].config.sample_size, int):
        raise CourseError(
            f"the config.json of {paths.name}'s U-Net has no whole number sample_size; copy or download it again"
        )
    with explained(paths.name):
        tokenizer = ChatGLMTokenizer.from_pretrained(paths.tokenizer, local_files_only=True)
        schedule = NoiseSchedule.kolors()
        if paths.scheduler:
            config = read_model_config(paths.scheduler, "scheduler_config.json")
            scheduler = EulerDiscreteScheduler.from_config(config)  # adds what the file leaves out
            schedule = NoiseSchedule.from_scheduler_config(scheduler.config)
    return KolorsModel(
        **networks,
        tokenizer=tokenizer,
        schedule=schedule,
        name=paths.name,
        loader=loader if phased else None,
        sampling=sampling,
    )
