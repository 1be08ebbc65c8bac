"""A loaded Kolors: U-Net, VAE, ChatGLM, tokenizer and noise schedule, whatever their size."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from safetensors import SafetensorError

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.kolors.compact import enable_text_bias


@dataclass(frozen=True)
class KolorsModel:
    """The parts of a Kolors model, in evaluation mode and without gradients, and the name it was loaded by."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: ChatGLMModel
    tokenizer: ChatGLMTokenizer
    schedule: NoiseSchedule
    name: str

    @property
    def device(self) -> torch.device:
        return self.unet.device

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent cell along one side: 8 for Kolors."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def default_size(self) -> int:
        """Side in pixels of the pictures the model was trained on."""
        return self.unet.config.sample_size * self.vae_scale_factor

    @property
    def size_multiple(self) -> int:
        """Picture sides must be divisible by this: the VAE's factor times the U-Net's own halvings."""
        return self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)


@dataclass(frozen=True)
class ModelPaths:
    """The folders a model is read from; `scheduler` None means Kolors' own schedule."""

    unet: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    scheduler: Path | None
    name: str


def diffusers_layout(folder: str | Path) -> ModelPaths:
    """The layout of Kwai-Kolors/Kolors-diffusers and of Kolors-mini.

    Raises:
        CourseError: a folder is missing.
    """
    folder = Path(folder)
    parts = {part: folder / part for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")}
    for part, path in parts.items():
        if not path.is_dir():
            raise CourseError(f"{folder} is not a Kolors model in diffusers layout: it has no folder {part}/")
    return ModelPaths(**parts, name=folder.resolve().name)


def three_paths(unet_file: str | Path, text_encoder: str | Path, vae_file: str | Path) -> ModelPaths:
    """The camp's layout: a U-Net file, a text-encoder folder and a VAE file.

    Each file needs its config.json beside it; the tokenizer is looked for in the text-encoder folder, then in
    tokenizer/ beside it.

    Raises:
        CourseError: a file or folder is missing.
    """
    text_encoder = Path(text_encoder)
    for file in (Path(unet_file), Path(vae_file)):
        if not file.is_file():
            raise CourseError(f"{file} does not exist; give the path of the .safetensors file itself")
        if not (file.parent / "config.json").is_file():
            raise CourseError(f"no config.json beside {file}; copy it from the model's folder")
    if not text_encoder.is_dir():
        raise CourseError(f"{text_encoder} is not a folder; give the text encoder's folder")
    beside = text_encoder.parent / "tokenizer"
    tokenizer = text_encoder if (text_encoder / "tokenizer.model").is_file() else beside
    if not (tokenizer / "tokenizer.model").is_file():
        raise CourseError(f"no tokenizer.model in {text_encoder} or {beside}; copy it there")
    unet = Path(unet_file).parent
    return ModelPaths(unet, Path(vae_file).parent, text_encoder, tokenizer, None, unet.parent.resolve().name)


def load_model(
    paths: str | Path | ModelPaths,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    variant: str | None = None,
) -> KolorsModel:
    """Load a model from a diffusers directory, or from the folders `paths` names.

    Args:
        variant: "fp16" for a directory whose weight files carry that name.

    Raises:
        CourseError: a part is missing or damaged.
    """
    if not isinstance(paths, ModelPaths):
        paths = diffusers_layout(paths)
    options = {"torch_dtype": dtype, "variant": variant, "use_safetensors": True, "local_files_only": True}
    try:
        unet = UNet2DConditionModel.from_pretrained(paths.unet, **options)
        vae = AutoencoderKL.from_pretrained(paths.vae, **options)
        options["dtype"] = options.pop("torch_dtype")
        text_encoder = ChatGLMModel.from_pretrained(paths.text_encoder, **options)
        tokenizer = ChatGLMTokenizer.from_pretrained(paths.tokenizer, local_files_only=True)
        schedule = NoiseSchedule.kolors()
        if paths.scheduler:
            scheduler = EulerDiscreteScheduler.from_pretrained(paths.scheduler, local_files_only=True)
            schedule = NoiseSchedule.from_scheduler_config(scheduler.config)
    except (OSError, ValueError, SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise CourseError(
            f"cannot load the model {paths.name}: {first_line}; copy or download it again"
        ) from error
    enable_text_bias(unet)
    for part in (unet, vae, text_encoder):
        part.to(device).eval().requires_grad_(False)
    return KolorsModel(unet, vae, text_encoder, tokenizer, schedule, paths.name)
