"""A loaded Kolors: U-Net, VAE, ChatGLM, tokenizer and noise schedule, whatever their size."""

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from safetensors import SafetensorError

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.kolors.compact import enable_text_bias

_WEIGHT_FILE = re.compile(
    r"(diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>\w+))?(-\d+-of-\d+)?\.(safetensors|bin)"
)
# What diffusers, transformers, SentencePiece and torch raise on missing, damaged or foreign files.
_LOAD_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    AssertionError,
    RuntimeError,
    EOFError,
    SafetensorError,
    pickle.UnpicklingError,
)


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

    def free_text_encoder(self) -> None:
        """Give back the text encoder's memory, for everyone who holds it; it cannot encode prompts any more."""
        self.text_encoder.to("meta")


@dataclass(frozen=True)
class ModelPaths:
    """Where the parts of a model lie.

    Attributes:
        unet, vae: a folder, or the weight file in it that is meant; config.json lies in the folder.
        text_encoder, tokenizer: folders.
        scheduler: a folder; None means Kolors' own schedule.
        name: what the model is called in LoRA files.
    """

    unet: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    scheduler: Path | None
    name: str


def diffusers_layout(folder: str | Path) -> ModelPaths:
    """The layout of Kwai-Kolors/Kolors-diffusers and of Kolors-mini, or that of the older Kwai-Kolors/Kolors.

    The older one keeps the tokenizer in text_encoder/.

    Raises:
        CourseError: a folder or the tokenizer is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(
            f"there is no model folder {folder}; download or train the model, or correct the path"
        )
    parts = {part: folder / part for part in ("unet", "vae", "text_encoder", "scheduler")}
    for part, path in parts.items():
        if not path.is_dir():
            raise CourseError(f"{folder} is not a Kolors model in diffusers layout: it has no folder {part}/")
    tokenizer = _tokenizer_folder(parts["text_encoder"])
    return ModelPaths(**parts, tokenizer=tokenizer, name=folder.resolve().name)


def three_paths(unet_file: str | Path, text_encoder: str | Path, vae_file: str | Path) -> ModelPaths:
    """The camp's layout: a U-Net file, a text-encoder folder and a VAE file.

    Each file needs its config.json beside it; the tokenizer is looked for in tokenizer/ beside the
    text-encoder folder, then in that folder itself.

    Raises:
        CourseError: a file or folder is missing.
    """
    text_encoder = Path(text_encoder)
    for file in (Path(unet_file), Path(vae_file)):
        if not file.is_file():
            raise CourseError(f"{file} does not exist; give the path of the .safetensors file itself")
        if not _WEIGHT_FILE.fullmatch(file.name):
            raise CourseError(
                f"{file}: diffusers finds weights by their name; call it diffusion_pytorch_model.safetensors"
            )
    if not text_encoder.is_dir():
        raise CourseError(f"{text_encoder} is not a folder; give the text encoder's folder")
    unet, vae = Path(unet_file), Path(vae_file)
    name = unet.parent.resolve().parent.name
    return ModelPaths(unet, vae, text_encoder, _tokenizer_folder(text_encoder), None, name)


def _tokenizer_folder(text_encoder: Path) -> Path:
    beside = text_encoder.parent / "tokenizer"
    for folder in (beside, text_encoder):
        if (folder / "tokenizer.model").is_file():
            return folder
    raise CourseError(f"no tokenizer.model in {beside} or {text_encoder}; copy it there")


def load_model(
    paths: str | Path | ModelPaths,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    variant: str | None = None,
) -> KolorsModel:
    """Load a model from a diffusers directory, or from where `paths` says.

    Args:
        variant: "fp16" prefers weight files that carry that name, None those that carry none; a folder that
            has only the other kind is read all the same.

    Raises:
        CourseError: a part is missing or damaged.
    """
    if not isinstance(paths, ModelPaths):
        paths = diffusers_layout(paths)
    safe = {"torch_dtype": dtype, "use_safetensors": True}
    try:
        unet = _load_part(UNet2DConditionModel, paths.unet, variant, **safe)
        vae = _load_part(AutoencoderKL, paths.vae, variant, **safe)
        # The older layout has only .bin files here; transformers reads those with weights_only=True.
        text_encoder = _load_part(
            ChatGLMModel, paths.text_encoder, variant, dtype=dtype, ignore_mismatched_sizes=True
        )
        tokenizer = ChatGLMTokenizer.from_pretrained(paths.tokenizer, local_files_only=True)
        schedule = NoiseSchedule.kolors()
        if paths.scheduler:
            scheduler = EulerDiscreteScheduler.from_pretrained(paths.scheduler, local_files_only=True)
            schedule = NoiseSchedule.from_scheduler_config(scheduler.config)
    except _LOAD_ERRORS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
        raise CourseError(
            f"cannot load the model {paths.name}: {reason}; copy or download it again"
        ) from error
    enable_text_bias(unet)
    for part in (unet, vae, text_encoder):
        part.to(device).eval().requires_grad_(False)
    return KolorsModel(unet, vae, text_encoder, tokenizer, schedule, paths.name)


def _load_part(cls: Any, path: Path, variant: str | None, **options: Any) -> Any:
    """`cls.from_pretrained`, refusing files that leave a weight unset: it would be whatever was in memory."""
    folder, variant = _weights(path, variant)
    part, info = cls.from_pretrained(
        folder, variant=variant, output_loading_info=True, local_files_only=True, **options
    )
    unset = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    if unset:
        raise CourseError(
            f"the weights in {folder} do not fit its config.json: {len(unset)} are missing or of another shape "
            f"(first: {unset[0]}); copy both from the same model"
        )
    return part


def _weights(path: Path, variant: str | None) -> tuple[Path, str | None]:
    """Folder and variant to load: of the file `path`, or of the folder `path` the variant that suits best."""
    folder = path.parent if path.is_file() else path
    if not (folder / "config.json").is_file():
        raise CourseError(f"no config.json in {folder}; copy it from the model's folder")
    files = [path] if path.is_file() else folder.iterdir()
    matches = [match for file in files if (match := _WEIGHT_FILE.fullmatch(file.name))]
    if not matches:
        raise CourseError(f"no weights in {folder}; copy or download them again")
    variants = {match["variant"] for match in matches}
    if variant not in variants:
        variant = None if None in variants else min(variants)
    return folder, variant
