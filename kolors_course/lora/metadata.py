"""What a LoRA file says beside its tensors: reading rank, alpha and targets from it, and writing them into it."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from torch import Tensor

from kolors_course.errors import CourseError, brief
from kolors_course.files import json_text
from kolors_course.lora.config import LoraSettings, check_alpha, check_rank
from kolors_course.lora.joint import TEXT_PREFIX, TEXT_TARGETS
from kolors_course.lora.kinds import KINDS, MAGNITUDE, kind_of, split_tensor_name
from kolors_course.lora.layouts import UNET_PREFIX, kohya_form

COURSE_METADATA_KEY = "kolors_course"
OWN_KEYS = ("format", LORA_ADAPTER_METADATA_KEY, COURSE_METADATA_KEY)
# What peft can do and LoraSettings cannot say: ignoring one of these would change the picture in silence.
_UNSUPPORTED = (
    *("lora_bias", "modules_to_save", "layer_replication", "target_parameters", "trainable_token_indices"),
    *("use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config"),
)
_INITS_THAT_KEEP_THE_BASE = (None, True, False, "gaussian", "orthogonal", "eva")
# Names, and regular expressions that cannot take for ever.
_SAFE_PATTERN = re.compile(r"(?:\w|\.\*?|\\\.|\\d|[\^$|])+")
_MAX_ENTRY = 4 * 2**20  # signs of JSON; what has more is not ours and not peft's


def read_json_entry(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    """One entry of a safetensors file's metadata, empty where it is absent.

    Raises:
        CourseError: it is not a JSON object, or a huge one.
    """
    text = metadata.get(key, "{}")
    if len(text) > _MAX_ENTRY:
        raise CourseError(f"the metadata entry {key} is larger than any LoRA's; save the file again")
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else brief(str(error))
        raise CourseError(f"the metadata entry {key} is not JSON ({reason}); save the file again") from error
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


def stored_alphas(
    adapter: Mapping[str, Any], alphas: Mapping[str, float], layers: Mapping[str, Any]
) -> dict[str, float] | None:
    """The alpha of each layer that the file itself says, in its metadata or in kohya's `.alpha` tensors; None where
    it does not.

    Raises:
        CourseError: not every layer has an alpha, or one is not a number above 0.
    """
    if alphas:
        if missing := [layer for layer in layers if layer not in alphas]:
            raise CourseError(
                f"only {len(layers) - len(missing)} of {len(layers)} layers have an .alpha; convert the LoRA again"
            )
        return {layer: check_alpha(alphas[layer]) for layer in layers}
    said = (kind.peft_names["alpha"] for kind in KINDS.values())  # a LoKrConfig has no lora_ before it
    plain = next((adapter[name] for name in said if name in adapter), None)
    if plain is None:
        return None
    pattern = _pattern(adapter, "alpha_pattern")
    return {layer: check_alpha(_by_pattern(pattern, layer, plain)) for layer in layers}


def stored_ranks(adapter: Mapping[str, Any], ranks: Mapping[str, int | None]) -> dict[str, int | None]:
    """The rank of each layer: as peft's configuration says it, if there is one, else as the tensors tell it.

    Raises:
        CourseError: a rank is not a whole number of at least 1.
    """
    if "r" not in adapter:
        return dict(ranks)
    pattern = _pattern(adapter, "rank_pattern")
    return {layer: check_rank(_by_pattern(pattern, layer, adapter["r"])) for layer in ranks}


def check_features(adapter: Mapping[str, Any]) -> None:
    """Refuse what `LoraSettings` cannot express.

    Raises:
        CourseError: it names the features.
    """
    features = [key for key in _UNSUPPORTED if adapter.get(key)]
    if adapter.get("init_lora_weights") not in _INITS_THAT_KEEP_THE_BASE:
        features.append(f"init_lora_weights={brief(adapter['init_lora_weights'])}")
    if features:
        raise CourseError(f"it uses {', '.join(features)} of peft, which the course cannot load")


def read_settings(
    state: Mapping[str, Tensor],
    adapter: Mapping[str, Any],
    course: Mapping[str, Any],
    rank: int,
    alpha: float,
    use_rslora: bool,
) -> LoraSettings:
    """Settings from the tensors, from what diffusers stores, and from what the course stored itself.

    Args:
        state: under our names.
        adapter: see `read_adapter`; empty for files without it.
        course: the course's own entry; believed only where it agrees with the tensors and `alpha`, because
            other programs copy metadata into files they change.

    Raises:
        CourseError: a value is out of range.
    """
    has_magnitudes = any(name.endswith(f".{MAGNITUDE}") for name in state)
    settings = LoraSettings(
        rank=rank,
        alpha=alpha,
        target_modules=_targets(state, adapter),
        use_rslora=use_rslora,
        use_dora=bool(adapter.get("use_dora", has_magnitudes)),
        init="kaiming" if adapter.get("init_lora_weights") is True else "gaussian",
        adapter=kind_of(state).name,
    )
    return settings if adapter else _course_settings(course, settings)


def scale_of(rank: int, alpha: float, use_rslora: bool) -> float:
    """alpha/r, or alpha/√r."""
    return alpha / (math.sqrt(rank) if use_rslora else rank)


def _pattern(adapter: Mapping[str, Any], key: str) -> dict[str, Any]:
    pattern = adapter.get(key) or {}
    if not isinstance(pattern, dict):
        raise CourseError(f"its {key} is {brief(pattern)} and not a table of layers; save the file again")
    return pattern


def _by_pattern(pattern: Mapping[str, Any], layer: str, plain: Any) -> Any:
    """The value for a layer, as peft looks it up: the first key that is the name, or an ending of it after a dot."""
    for key, value in pattern.items():
        if not _SAFE_PATTERN.fullmatch(key) or key.count("*") > 3:
            raise CourseError(
                f"the pattern {brief(key)!r} is too intricate to be followed; save the file again"
            )
        if layer == key or re.fullmatch(rf"(?:.*\.)?(?:{key})", layer):
            return value
    return plain


def diffusers_metadata(
    settings: LoraSettings, course: Mapping[str, Any], has_text: bool = False
) -> dict[str, str]:
    """From this diffusers builds a `peft.LoraConfig` (or `LoKrConfig`), so that stock programs find alpha.

    Not all of `LoraConfig.to_dict()`: an older peft refuses a file that names a field it does not know.
    """
    entries = settings.peft_fields() | {"rank_pattern": {}, "alpha_pattern": {}}
    prefixed = {UNET_PREFIX + key: value for key, value in entries.items()}
    if has_text:
        entries["target_modules"] = list(TEXT_TARGETS)
        prefixed |= {TEXT_PREFIX + key: value for key, value in entries.items()}
    adapter = json.dumps(prefixed, sort_keys=True)
    return {"format": "pt", LORA_ADAPTER_METADATA_KEY: adapter} | _course_entry(course)


def kohya_metadata(settings: LoraSettings, course: Mapping[str, Any]) -> dict[str, str]:
    """What kohya's trainer writes and other programs show; `settings` are those of the file's tensors.

    Without the entry of diffusers: diffusers refuses a file that has both that and `.alpha` tensors.
    """
    return {
        "format": "pt",
        "ss_network_module": kohya_form(settings.kind).module,
        "ss_network_dim": str(settings.rank),
        "ss_network_alpha": str(settings.plain_alpha),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "kolors/lora",
        "modelspec.implementation": "diffusers",
    } | _course_entry({**course, **asdict(settings)})


def _course_entry(course: Mapping[str, Any]) -> dict[str, str]:
    entry = json_text(course, sort_keys=True)
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


def _targets(state: Mapping[str, Tensor], adapter: Mapping[str, Any]) -> tuple[str, ...]:
    listed = adapter.get("target_modules")
    if (
        isinstance(listed, list)
        and not adapter.get("exclude_modules")
        and not adapter.get("layers_to_transform")
    ):
        return tuple(listed)
    return tuple(dict.fromkeys(split_tensor_name(name)[0] for name in state))
