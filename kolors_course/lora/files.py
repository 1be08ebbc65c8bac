"""A LoRA as one safetensors file in the diffusers layout, with everything needed to use it rightly.

`KolorsPipeline.load_lora_weights` reads the scale from the metadata entry `lora_adapter_metadata`, and
takes alpha = rank where it is absent: too strong or too weak, without a word. So a file written here
always has it, and a file without it is not read here before the caller says the alpha.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kolors_course import __version__
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.lora.adapter import first_few, lora_state_dict
from kolors_course.lora.config import LoraSettings

COURSE_METADATA_KEY = "kolors_course"
UNET_PREFIX = "unet."
_TENSOR_NAME = re.compile(r"(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_magnitude_vector)")
# What peft can do and LoraSettings cannot say: ignoring one of these would change the picture in silence.
_UNSUPPORTED = ("rank_pattern", "alpha_pattern", "lora_bias", "modules_to_save")
_INITS_THAT_KEEP_THE_BASE = (None, True, False, "gaussian")


@dataclass(frozen=True)
class LoraFile:
    """A checked LoRA file.

    Attributes:
        path: where it was read.
        state_dict: `<module>.lora_A.weight` (rank, in), `<module>.lora_B.weight` (out, rank), ... as
            `lora_state_dict` names them, without the file's prefix `unet.`.
        settings: rank, alpha, targets.
        metadata: what the course wrote beside them (base model, data set hash, ...); empty for files of
            other programs.
    """

    path: Path
    state_dict: dict[str, Tensor] = field(repr=False)
    settings: LoraSettings
    metadata: dict[str, Any]

    @property
    def base_model(self) -> str:
        """The model it was trained on, or "an unknown base model"."""
        return self.metadata.get("base_model", "an unknown base model")


def save_lora(
    path: str | Path,
    unet_or_state: nn.Module | Mapping[str, Tensor],
    settings: LoraSettings,
    *,
    base_model: str,
    dataset_hash: str,
    extra: Mapping[str, Any] | None = None,
    adapter_name: str = "default",
) -> Path:
    """Write a LoRA that stock `KolorsPipeline.load_lora_weights` loads at the trained strength.

    Args:
        path: the file to write, ending in .safetensors; never left half-written.
        unet_or_state: a U-Net with the LoRA `adapter_name`, or what `lora_state_dict` returned.
        settings: the settings it was trained with.
        base_model: name of the model it was trained on.
        dataset_hash: hash of the data it was trained on.
        extra: further facts that JSON can hold: prompt notes, number of steps, command.

    Returns:
        `path`.

    Raises:
        CourseError: tensors and settings disagree, `extra` reuses a name, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise CourseError(f"{path}: a LoRA file must be called something.safetensors")
    state = unet_or_state
    if isinstance(unet_or_state, nn.Module):
        state = lora_state_dict(unet_or_state, adapter_name)
    _check_tensors(path, state, settings.rank, settings.use_dora)
    facts = {"version": __version__, "base_model": base_model, "dataset_hash": dataset_hash}
    facts = {**asdict(settings), **facts}
    if taken := sorted(facts.keys() & (extra or {}).keys()):
        raise CourseError(f"extra LoRA metadata may not be called {', '.join(taken)}: the file has these")
    metadata = {
        "format": "pt",
        LORA_ADAPTER_METADATA_KEY: json.dumps(_adapter_metadata(settings), sort_keys=True),
        COURSE_METADATA_KEY: json.dumps({**facts, **(extra or {})}, ensure_ascii=False, sort_keys=True),
    }
    tensors = {UNET_PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except (OSError, SafetensorError) as error:
            raise CourseError(
                f"cannot write {path}: {error}; free some disk space or choose another folder"
            ) from error
    return path


def read_lora(path: str | Path, *, alpha: float | None = None) -> LoraFile:
    """Read and check a LoRA file in the diffusers layout.

    Args:
        path: a safetensors file with the keys `unet.<module>.lora_A.weight` and `.lora_B.weight`.
        alpha: the alpha of training, only for a file that does not say it; the scale is then alpha/rank.

    Raises:
        CourseError: the file is missing, cut short or not a safetensors file; holds no LoRA, half a pair,
            different ranks, or numbers that are not finite; does not say its alpha and none was given, or
            says another; or uses a feature that `LoraSettings` cannot express.
    """
    path = Path(path)
    raw_tensors, raw_metadata = _read_safetensors(path)
    state = _strip_prefix(path, raw_tensors)
    adapter = {
        key.removeprefix(UNET_PREFIX): value
        for key, value in _json_entry(path, raw_metadata, LORA_ADAPTER_METADATA_KEY).items()
    }
    settings = _settings(path, state, adapter, alpha)
    _check_tensors(path, state, settings.rank, settings.use_dora)
    return LoraFile(path, state, settings, _json_entry(path, raw_metadata, COURSE_METADATA_KEY))


def split_tensor_name(name: str) -> tuple[str, str]:
    """Split `<module>.lora_A.weight` into module and `lora_A.weight`, which is "" for other names."""
    match = _TENSOR_NAME.fullmatch(name)
    return (match["module"], match["part"]) if match else (name, "")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise CourseError(f"there is no LoRA file {path}; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            # Seen before the tensors are read: a whole model by mistake would be gigabytes.
            if not any("lora" in name for name in names):
                raise CourseError(f"{path} holds no LoRA tensors (it holds: {first_few(names) or 'nothing'})")
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CourseError(
            f"{path} is cut short or not a safetensors file ({error}); copy or download it again"
        ) from error


def _strip_prefix(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    odd = [n for n in tensors if not n.startswith(UNET_PREFIX) or not split_tensor_name(n)[1]]
    if odd:
        raise CourseError(
            f"{path}: {len(odd)} of {len(tensors)} tensors are not named unet.<module>.lora_A.weight or "
            f".lora_B.weight as in the diffusers layout (first: {first_few(odd)})"
        )
    return {name.removeprefix(UNET_PREFIX): tensor for name, tensor in tensors.items()}


def _json_entry(path: Path, metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        entry = json.loads(metadata.get(key, "{}"))
    except json.JSONDecodeError as error:
        raise CourseError(
            f"{path}: the metadata entry {key} is not JSON ({error}); save the file again"
        ) from error
    if not isinstance(entry, dict):
        raise CourseError(f"{path}: the metadata entry {key} is not a JSON object; save the file again")
    return entry


def _adapter_metadata(settings: LoraSettings) -> dict[str, Any]:
    """The entries from which diffusers builds a `peft.LoraConfig`.

    Not all of `LoraConfig.to_dict()`: an older peft refuses a file that names a field it does not know.
    """
    entries = {
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "target_modules": list(settings.target_modules),
        "use_rslora": settings.use_rslora,
        "use_dora": settings.use_dora,
        "init_lora_weights": "gaussian" if settings.init == "gaussian" else True,
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    return {UNET_PREFIX + key: value for key, value in entries.items()}


def _settings(
    path: Path, state: Mapping[str, Tensor], adapter: Mapping[str, Any], alpha: float | None
) -> LoraSettings:
    features = [key for key in _UNSUPPORTED if adapter.get(key)]
    if adapter.get("init_lora_weights") not in _INITS_THAT_KEEP_THE_BASE:
        features.append(f"init_lora_weights={adapter['init_lora_weights']}")
    if features:
        raise CourseError(f"{path} uses {', '.join(features)} of peft, which the course cannot load")
    has_magnitudes = any(name.endswith(".lora_magnitude_vector") for name in state)
    ranks = {t.shape[0] for name, t in state.items() if name.endswith(".lora_A.weight") and t.ndim}
    try:
        return LoraSettings(
            rank=adapter.get("r", min(ranks, default=0)),
            alpha=_alpha(adapter.get("lora_alpha"), alpha),
            target_modules=_targets(state, adapter),
            use_rslora=bool(adapter.get("use_rslora", False)),
            use_dora=bool(adapter.get("use_dora", has_magnitudes)),
            init="kaiming" if adapter.get("init_lora_weights") is True else "gaussian",
        )
    except CourseError as error:
        raise CourseError(f"{path}: {error}") from error


def _alpha(stored: float | None, given: float | None) -> float:
    if stored is None and given is None:
        raise CourseError(
            "the file does not say its alpha, and a wrong one changes its strength in silence; give the one "
            "used in training (alpha= in Python, --alpha on the command line; the camp's command used 4)"
        )
    if stored is not None and given is not None and stored != given:
        raise CourseError(
            f"the file says alpha {stored}, not {given}; leave alpha out, and use the strength to weaken it"
        )
    return given if stored is None else stored


def _targets(state: Mapping[str, Tensor], adapter: Mapping[str, Any]) -> tuple[str, ...]:
    listed = adapter.get("target_modules")
    if (
        isinstance(listed, list)
        and not adapter.get("exclude_modules")
        and not adapter.get("layers_to_transform")
    ):
        return tuple(listed)
    return tuple(dict.fromkeys(split_tensor_name(name)[0] for name in state))


def _check_tensors(path: Path, state: Mapping[str, Tensor], rank: int, use_dora: bool) -> None:
    if not state:
        raise CourseError(f"{path}: there are no LoRA tensors")
    needed = {"lora_A.weight", "lora_B.weight"} | ({"lora_magnitude_vector"} if use_dora else set())
    parts: dict[str, set[str]] = {}
    for name, tensor in state.items():
        module, part = split_tensor_name(name)
        parts.setdefault(module, set()).add(part)
        _check_tensor(path, name, tensor, rank)
    for module, found in parts.items():
        if found != needed:
            wrong = ", ".join(sorted(found ^ needed))
            raise CourseError(
                f"{path}: {module} is incomplete or has too much ({wrong}); save the file again"
            )


def _check_tensor(path: Path, name: str, tensor: Tensor, rank: int) -> None:
    if not tensor.is_floating_point() or not torch.isfinite(tensor.float()).all():
        raise CourseError(f"{path}: {name} holds numbers that are not finite; the training diverged")
    # A is (rank, in, ...) and B is (out, rank, ...), for linear layers and for convolutions.
    axis = {"lora_A.weight": 0, "lora_B.weight": 1}.get(split_tensor_name(name)[1])
    if axis is not None and (tensor.ndim < 2 or tensor.shape[axis] != rank):
        raise CourseError(f"{path}: {name} has shape {tuple(tensor.shape)}, which is not of rank {rank}")
