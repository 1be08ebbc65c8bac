"""Where the parts of a Kolors model lie: a diffusers folder, the older Kolors layout, or the camp's three paths."""

import re
from dataclasses import dataclass
from pathlib import Path

from kolors_course.errors import CourseError

WEIGHT_FILE = re.compile(
    r"(diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>\w+))?(-\d+-of-\d+)?\.(safetensors|bin)"
)


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


def three_paths(
    unet_file: str | Path,
    text_encoder: str | Path,
    vae_file: str | Path,
    tokenizer: str | Path | None = None,
) -> ModelPaths:
    """The camp's layout: a U-Net file, a text-encoder folder and a VAE file.

    A file without a config.json beside it is taken for full Kolors', as DiffSynth downloads them.

    Args:
        tokenizer: the folder of tokenizer.model; None looks into tokenizer/ beside the text-encoder folder, then
            into that folder itself.

    Raises:
        CourseError: a file or folder is missing.
    """
    text_encoder = Path(text_encoder)
    for file in (Path(unet_file), Path(vae_file)):
        if not file.is_file():
            raise CourseError(f"{file} does not exist; give the path of the .safetensors file itself")
        if not WEIGHT_FILE.fullmatch(file.name):
            raise CourseError(
                f"{file}: diffusers finds weights by their name; call it diffusion_pytorch_model.safetensors"
            )
    if not text_encoder.is_dir():
        raise CourseError(f"{text_encoder} is not a folder; give the text encoder's folder")
    unet, vae = Path(unet_file), Path(vae_file)
    name = unet.parent.resolve().parent.name
    return ModelPaths(unet, vae, text_encoder, _tokenizer_folder(text_encoder, tokenizer), None, name)


def _tokenizer_folder(text_encoder: Path, given: str | Path | None = None) -> Path:
    folders = [Path(given)] if given else [text_encoder.parent / "tokenizer", text_encoder]
    for folder in folders:
        if (folder / "tokenizer.model").is_file():
            return folder
    raise CourseError(
        f"no tokenizer.model in {' or '.join(map(str, folders))}; copy it there: Kwai-Kolors/Kolors has it in "
        "text_encoder/, DiffSynth-Studio in diffsynth/tokenizer_configs/kolors/tokenizer/"
    )


def find_weights(path: Path, variant: str | None) -> tuple[Path, str | None]:
    """Folder and variant to load: of the file `path`, or of the folder `path` the variant that suits best.

    Raises:
        CourseError: there is no config.json or are no weights.
    """
    folder = path.parent if path.is_file() else path
    if not (folder / "config.json").is_file():
        raise CourseError(f"no config.json in {folder}; copy it from the model's folder")
    files = [path] if path.is_file() else folder.iterdir()
    matches = [match for file in files if (match := WEIGHT_FILE.fullmatch(file.name))]
    if not matches:
        raise CourseError(f"no weights in {folder}; copy or download them again")
    variants = {match["variant"] for match in matches}
    if variant not in variants:
        variant = None if None in variants else min(variants)
    return folder, variant
