"""The weight files of a model's U-Net, and changing them: baking LoRAs in."""

import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder, json_text
from kolors_course.kolors import diffusers_layout
from kolors_course.kolors.settings import SAMPLING_FILE, read_sampling, write_sampling
from kolors_course.kolors.skeleton import unet_skeleton
from kolors_course.lora.adapter import first_few
from kolors_course.lora.combine import combined_metadata
from kolors_course.lora.files import LoraFile
from kolors_course.lora.kinds import split_tensor_name, weight_change
from kolors_course.lora.loading import check_fit
from kolors_course.lora.maths import dora_weight, merged_weight
from kolors_course.lora.storage import about, write_safetensors
from kolors_course.lora.wishes import wish_in

MERGE_NOTE = "merged_loras.json"
# diffusers has written the variant before the number of the shard, and formerly after it.
_WEIGHTS = re.compile(
    r"diffusion_pytorch_model(?:\.(?P<variant>[a-z]\w*))?(?:-\d+-of-\d+(?:\.(?P<formerly>[a-z]\w*))?)?\.safetensors"
)


@dataclass(frozen=True)
class Merge:
    """What `merge_into_model` wrote.

    Attributes:
        layers: the names of the layers changed.
        left_out: files of the U-Net that were not copied, because they hold the base model's weights in a format that
            is not merged.
    """

    layers: tuple[str, ...]
    left_out: tuple[str, ...]


def read_unet_weights(model: str | Path) -> dict[str, Tensor]:
    """Every tensor of the U-Net of a model in diffusers layout, in the number format of its files.

    Of several variants the plain one is read.

    Raises:
        CourseError: there is no such model, or its weights are missing or damaged.
    """
    variants = _weight_files(Path(model))
    weights: dict[str, Tensor] = {}
    for file in variants[min(variants)]:
        weights |= _read_weights(file)[0]
    return weights


def merge_into_model(model: str | Path, loras: Sequence[tuple[LoraFile, float]], output: str | Path) -> Merge:
    """Write a copy of a model in diffusers layout with W + strength · ΔW for W: any program loads it.

    Every safetensors file of the U-Net is changed, whatever its variant, and keeps its number format: each weight is
    computed in float32 and rounded once. Weights of the U-Net in other formats are left out: a program that prefers
    them would draw without the LoRA. All other files are copied; where a LoRA wants to be sampled otherwise than the
    model, sampling.json says so.

    Args:
        loras: files and their strengths, 1 being the trained one.
        output: a new folder; never left half-written.

    Raises:
        CourseError: there is no such model, a LoRA does not fit it, `output` exists or cannot be written, or a weight
            overflows.
    """
    model, output = Path(model), Path(output)
    variants = _weight_files(model)
    _check_loras(model, loras)
    layers = {split_tensor_name(name)[0] for lora, _ in loras for name in lora.state_dict}
    sampling = base_sampling = read_sampling(model / SAMPLING_FILE)
    for lora, _ in loras:
        with about(lora.path):
            sampling = sampling.but(**wish_in(lora.metadata))
    with _new_folder(output) as folder:
        left_out = _copy_others(model, folder)
        for variant in variants.values():
            changed = [_merge_file(file, folder / file.relative_to(model), loras) for file in variant]
            if lacking := layers.difference(*changed):
                raise CourseError(
                    f"{variant[0]} lacks weights of its config.json: {first_few(sorted(lacking))}"
                )
        note = {
            "base_model": model.resolve().name,
            "loras": combined_metadata(loras)[0]["combined"],
        }
        (folder / MERGE_NOTE).write_text(json_text(note, indent=2) + "\n", encoding="utf-8")
        if sampling != base_sampling:
            write_sampling(folder, sampling)
    return Merge(tuple(sorted(layers)), left_out)


def _check_loras(model: Path, loras: Sequence[tuple[LoraFile, float]]) -> None:
    skeleton = unet_skeleton(model)
    for lora, _ in loras:
        if lora.text_encoder:
            raise CourseError(
                f"{lora.path} adapts the text encoder too, and only the U-Net is merged; load it instead (--lora)"
            )
        check_fit(skeleton, lora)


def _copy_others(model: Path, folder: Path) -> tuple[str, ...]:
    """Copy everything but hidden files and the U-Net's weights; return those weights that no merged file replaces."""
    unet = diffusers_layout(model).unet
    weights = [file.name for file in unet.iterdir() if file.is_file() and _holds_weights(file.name)]

    def skipped(parent: str, names: list[str]) -> set[str]:
        in_unet = Path(parent) == unet
        return {name for name in names if name.startswith(".") or (in_unet and name in weights)}

    try:
        shutil.copytree(model, folder, ignore=skipped, dirs_exist_ok=True)
    finally:  # folders are copied with their modes: in those of a read-only model nothing can be written or removed
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(path.stat().st_mode | stat.S_IRWXU)
    return tuple(sorted(name for name in weights if not _WEIGHTS.fullmatch(name)))


def _holds_weights(name: str) -> bool:
    """Whether a file of the U-Net's folder is not config.json, a model card or an index of merged shards."""
    if ".index." in name:
        return ".safetensors." not in name
    return not name.startswith(".") and not name.endswith((".json", ".md", ".txt"))


def _weight_files(model: Path) -> dict[str, list[Path]]:
    """Variant ("" is the plain one) -> its files, one or several shards."""
    folder = diffusers_layout(model).unet
    variants: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if match := _WEIGHTS.fullmatch(file.name):
            variants.setdefault(match["variant"] or match["formerly"] or "", []).append(file)
    if not variants:
        raise CourseError(f"no weights (.safetensors) in {folder}; copy or download them again")
    return variants


def _read_weights(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
        return load_file(file), metadata or {"format": "pt"}
    except (OSError, SafetensorError) as error:
        raise CourseError(f"{file} is cut short or damaged ({error}); copy or download it again") from error


def _merge_file(source: Path, target: Path, loras: Sequence[tuple[LoraFile, float]]) -> set[str]:
    """Write one weight file anew; return the names of the layers changed in it."""
    weights, metadata = _read_weights(source)
    adapted = [{split_tensor_name(name)[0] for name in lora.state_dict} for lora, _ in loras]
    changed = set()
    for key, weight in weights.items():
        layer = key.removesuffix(".weight")
        matching = [pair for pair, layers in zip(loras, adapted, strict=True) if layer in layers]
        if not matching:
            continue
        merged = weight.float()
        for lora, strength in matching:
            merged = _merged(merged, lora, layer, strength)
        weights[key] = merged.to(weight.dtype)
        if not weights[key].float().isfinite().all():  # torch cannot ask it of 8-bit floats
            raise CourseError(f"{key} of {source} overflows; use less strength, or weights in float32")
        changed.add(layer)
    with atomic_path(target) as temporary:
        write_safetensors(weights, temporary, metadata)
    return changed


def _merged(weight: Tensor, lora: LoraFile, layer: str, strength: float) -> Tensor:
    """One weight in float32 with one LoRA added."""
    state, settings = lora.state_dict, lora.settings
    if not settings.kind.is_pair:
        change = weight_change(state, layer, settings.adapter)
        return weight + (strength * settings.scale * change).reshape(weight.shape)
    A, B = (state[f"{layer}.lora_{factor}.weight"].flatten(1).float() for factor in "AB")
    alpha, rank, rslora = settings.alpha, settings.rank, settings.use_rslora
    if settings.use_dora:
        lengths = state[f"{layer}.lora_magnitude_vector"].flatten().float()
        matrix = dora_weight(weight.flatten(1), A, B, lengths, strength * alpha, rank, rslora)
    else:
        matrix = merged_weight(weight.flatten(1), A, B, alpha, rank, rslora, strength)
    return matrix.reshape(weight.shape)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; on success it becomes `folder`, on failure it vanishes.

    Raises:
        CourseError: `folder` exists, or something cannot be written.
    """
    if folder.exists():
        raise CourseError(f"{folder} exists already; choose another output folder, or remove it")
    temporary = ensure_folder(folder.parent) / f".{folder.name}-{uuid.uuid4().hex}"
    try:
        temporary.mkdir()
        yield temporary
        os.replace(temporary, folder)
    except (OSError, SafetensorError) as error:
        # copytree goes on after an error, and tells of all in a list of (source, target, reason).
        reason = error.args[0][0][-1] if isinstance(error, shutil.Error) else error
        raise CourseError(
            f"cannot write {folder}: {reason}; free some disk space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
