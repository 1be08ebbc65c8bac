"""What a LoRA file says beside its tensors: reading rank, alpha and targets from it, and writing them into it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.config import LoraSettings
from kolors_course.lora.joint import TEXT_PREFIX, TEXT_TARGETS
from kolors_course.lora.kinds import kind_of, rank_axis, split_tensor_name
from kolors_course.lora.layouts import UNET_PREFIX

COURSE_METADATA_KEY = "kolors_course"
# What peft can do and LoraSettings cannot say: ignoring one of these would change the picture in silence.
_UNSUPPORTED = ("rank_pattern", "alpha_pattern", "lora_bias", "modules_to_save")
_INITS_THAT_KEEP_THE_BASE = (None, True, False, "gaussian")


def read_json_entry(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    """One entry of a safetensors file's metadata, empty where it is absent.

    Raises:
        CourseError: it is not a JSON object.
    """
    try:
        entry = json.loads(metadata.get(key, "{}"))
    except json.JSONDecodeError as error:
        raise CourseError(f"the metadata entry {key} is not JSON ({error}); save the file again") from error
    if not isinstance(entry, dict):
        raise CourseError(f"the metadata entry {key} is not a JSON object; save the file again")
    return entry


def read_adapter(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a `peft.LoraConfig` that diffusers keeps in a file's metadata.

    Raises:
        CourseError: the entry is damaged.
    """
    entry = read_json_entry(metadata, LORA_ADAPTER_METADATA_KEY)
    return {key.removeprefix(UNET_PREFIX): value for key, value in entry.items()}


def stored_alpha(adapter: Mapping[str, Any], alphas: Mapping[str, float], layers: int) -> float | None:
    """The alpha that the file itself says, in its metadata or in kohya's `.alpha` tensors; None where it does not.

    Raises:
        CourseError: not every layer has an alpha, or they differ.
    """
    if not alphas:
        return adapter.get("lora_alpha", adapter.get("alpha"))  # a LoKrConfig has no lora_ before it
    if len(alphas) != layers:
        raise CourseError(f"only {len(alphas)} of {layers} layers have an .alpha; convert the LoRA again")
    if len(set(alphas.values())) > 1:
        low, high = min(alphas.values()), max(alphas.values())
        raise CourseError(
            f"its layers have different alphas ({low:g} to {high:g}); the course loads LoRAs of one alpha"
        )
    return next(iter(alphas.values()))


def read_settings(
    state: Mapping[str, Tensor], adapter: Mapping[str, Any], course: Mapping[str, Any], alpha: float
) -> LoraSettings:
    """Settings from the tensors, from what diffusers stores, and from what the course stored itself.

    Args:
        state: under our names.
        adapter: see `read_adapter`; empty for files without it.
        course: the course's own entry; believed only where it agrees with the tensors and `alpha`, because
            other programs copy metadata into files they change.

    Raises:
        CourseError: a value is out of range, or a feature is used that `LoraSettings` cannot express.
    """
    features = [key for key in _UNSUPPORTED if adapter.get(key)]
    if adapter.get("init_lora_weights") not in _INITS_THAT_KEEP_THE_BASE:
        features.append(f"init_lora_weights={adapter['init_lora_weights']}")
    if features:
        raise CourseError(f"it uses {', '.join(features)} of peft, which the course cannot load")
    has_magnitudes = any(name.endswith(".lora_magnitude_vector") for name in state)
    settings = LoraSettings(
        rank=adapter["r"] if "r" in adapter else _rank(state),
        alpha=alpha,
        target_modules=_targets(state, adapter),
        use_rslora=bool(adapter.get("use_rslora", False)),
        use_dora=bool(adapter.get("use_dora", has_magnitudes)),
        init="kaiming" if adapter.get("init_lora_weights") is True else "gaussian",
        adapter=kind_of(state),
    )
    return settings if adapter else _course_settings(course, settings)


def diffusers_metadata(
    settings: LoraSettings, course: Mapping[str, Any], has_text: bool = False
) -> dict[str, str]:
    """From this diffusers builds a `peft.LoraConfig` (or `LoKrConfig`), so that stock programs find alpha.

    Not all of `LoraConfig.to_dict()`: an older peft refuses a file that names a field it does not know.
    """
    entries = {
        "r": settings.rank,
        "target_modules": list(settings.target_modules),
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    if settings.adapter == "lora":
        entries |= {
            "lora_alpha": settings.alpha,
            "use_rslora": settings.use_rslora,
            "use_dora": settings.use_dora,
            "init_lora_weights": "gaussian" if settings.init == "gaussian" else True,
        }
    else:
        entries["alpha"] = settings.alpha
    prefixed = {UNET_PREFIX + key: value for key, value in entries.items()}
    if has_text:
        entries["target_modules"] = list(TEXT_TARGETS)
        prefixed |= {TEXT_PREFIX + key: value for key, value in entries.items()}
    adapter = json.dumps(prefixed, sort_keys=True)
    return {"format": "pt", LORA_ADAPTER_METADATA_KEY: adapter} | _course_entry(course)


def kohya_metadata(settings: LoraSettings, course: Mapping[str, Any]) -> dict[str, str]:
    """What kohya's trainer writes and other programs show.

    Without the entry of diffusers: diffusers refuses a file that has both that and `.alpha` tensors.
    """
    return {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(settings.rank),
        "ss_network_alpha": str(settings.plain_alpha),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "kolors/lora",
        "modelspec.implementation": "diffusers",
    } | _course_entry({**course, **asdict(settings)})


def _course_entry(course: Mapping[str, Any]) -> dict[str, str]:
    entry = json.dumps(course, ensure_ascii=False, sort_keys=True)
    return {COURSE_METADATA_KEY: entry} if course else {}


def _course_settings(course: Mapping[str, Any], plain: LoraSettings) -> LoraSettings:
    """The settings that the course stored, if they mean the same LoRA as `plain`, which the tensors tell."""
    names = [field.name for field in fields(LoraSettings)]
    if not all(name in course for name in names if name != "adapter"):  # older files hold LoRAs only
        return plain
    stored = LoraSettings(**{name: course[name] for name in names if name in course})
    same = (stored.rank, stored.plain_alpha, stored.use_dora) == (
        plain.rank,
        plain.alpha,
        plain.use_dora,
    )
    endings = tuple(f".{target}" for target in stored.target_modules)
    covered = all(f".{layer}".endswith(endings) for layer in plain.target_modules)
    return stored if same and covered else plain


def _rank(state: Mapping[str, Tensor]) -> int:
    """The smallest rank that the tensors tell; that all are of it is checked later."""
    axes = [(rank_axis(split_tensor_name(name)[1]), tensor.shape) for name, tensor in state.items()]
    ranks = [shape[axis] for axis, shape in axes if axis is not None and len(shape) > axis]
    if not ranks:
        raise CourseError(
            "its tensors do not tell its rank, on which its strength depends; put the adapter_config.json that peft "
            "saved with it beside it, and call it adapter_model.safetensors"
        )
    return min(ranks)


def _targets(state: Mapping[str, Tensor], adapter: Mapping[str, Any]) -> tuple[str, ...]:
    listed = adapter.get("target_modules")
    if (
        isinstance(listed, list)
        and not adapter.get("exclude_modules")
        and not adapter.get("layers_to_transform")
    ):
        return tuple(listed)
    return tuple(dict.fromkeys(split_tensor_name(name)[0] for name in state))
