"""Where the parts of a Kolors model lie: a diffusers folder, the older Kolors layout, or the camp's three paths."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kolors_course.errors import CourseError, brief
from kolors_course.files import check_whole_name, read_text
from kolors_course.kolors.settings import SAMPLING_FILE
from kolors_course.platform.download import WEIGHT_FILE

# No network of Kolors comes near these; one that does would be built for hours before its weights do not fit.
LARGEST_CONFIG = 2**20  # bytes
MOST_LAYERS, MOST_ENTRIES, LARGEST_NUMBER = 128, 256, 2**20


@dataclass(frozen=True)
class ModelPaths:
    """Where the parts of a model lie.

    Attributes:
        unet, vae: a folder, or the weight file in it that is meant; config.json lies in the folder.
        text_encoder, tokenizer: folders.
        scheduler: a folder; None means Kolors' own schedule.
        name: what the model is called in LoRA files.
        sampling: the file that says how it is drawn; it need not exist.

    Raises:
        CourseError: a path is not UTF-8.
    """

    unet: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    scheduler: Path | None
    name: str
    sampling: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.unet, self.vae, self.text_encoder, self.tokenizer):
            check_whole_name(path)


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
    name, sampling = folder.resolve().name, folder / SAMPLING_FILE
    return ModelPaths(**parts, tokenizer=tokenizer, name=name, sampling=sampling)


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
    folder = unet.parent.resolve().parent
    tokenizer = _tokenizer_folder(text_encoder, tokenizer)
    return ModelPaths(unet, vae, text_encoder, tokenizer, None, folder.name, folder / SAMPLING_FILE)


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
        CourseError: there is no config.json that describes a network, or are no weights.
    """
    folder = path.parent if path.is_file() else path
    read_model_config(folder)
    files = [path] if path.is_file() else folder.iterdir()
    matches = [match for file in files if (match := WEIGHT_FILE.fullmatch(file.name))]
    if not matches:
        raise CourseError(f"no weights in {folder}; copy or download them again")
    variants = {match["variant"] for match in matches}
    if variant not in variants:
        variant = None if None in variants else min(variants)
    return folder, variant


def read_model_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """What config.json in `folder` says of a network (or scheduler_config.json of a schedule), before it is built.

    Raises:
        CourseError: there is none, it is no JSON object, or it holds a number or a list that no Kolors has.
    """
    file = folder / name
    if not file.is_file():
        raise CourseError(f"no {name} in {folder}; copy it from the model's folder")
    try:
        config = json.loads(read_text(file, LARGEST_CONFIG, "that of the model"))
    except (ValueError, RecursionError) as error:
        raise CourseError(f"{file} is not JSON ({brief(str(error))}); copy or download it again") from error
    if not isinstance(config, dict):
        raise CourseError(f"{file} does not describe a part of a model; copy or download it again")
    for key, value in _values("", config):
        most = MOST_LAYERS if "layers" in key else LARGEST_NUMBER
        long = isinstance(value, (list, dict)) and len(value) > MOST_ENTRIES
        if long or (isinstance(value, (int, float)) and not abs(value) <= most):
            raise CourseError(
                f"{file}: '{brief(key)}' is {brief(value)}, which no Kolors has; copy or download it again"
            )
    return config


def _values(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """All values inside `value`, each with the nearest name above it."""
    yield key, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(key, inner)
