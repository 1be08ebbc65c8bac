"""A LoRA as one file, read in every layout that people have, and written with everything needed to use it rightly.

`KolorsPipeline.load_lora_weights` reads the scale from the metadata entry `lora_adapter_metadata` or from kohya's
`.alpha` tensors, and takes alpha = rank where there is neither: too strong or too weak, without a word. So a file
written here says its alpha wherever its layout can, and one that does not is not read before the caller says it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from kolors_course import __version__
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.lora.adapter import adaptable_layers, lora_state_dict
from kolors_course.lora.choices import WRITABLE
from kolors_course.lora.config import LoraSettings
from kolors_course.lora.joint import join_parts, split_parts
from kolors_course.lora.kinds import complete_parts, rank_axis, split_tensor_name
from kolors_course.lora.layouts import decode, encode
from kolors_course.lora.metadata import (
    COURSE_METADATA_KEY,
    diffusers_metadata,
    kohya_metadata,
    read_adapter,
    read_json_entry,
    read_settings,
    stored_alpha,
)
from kolors_course.lora.storage import about, read_tensors

SUFFIXES = {"diffusers": ".safetensors", "kohya": ".safetensors", "diffsynth": ".ckpt"}
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class LoraFile:
    """A checked LoRA file.

    Attributes:
        path: where it was read.
        state_dict: `<module>.lora_A.weight` (rank, in), `<module>.lora_B.weight` (out, rank), ... as
            `lora_state_dict` names them, whatever the file calls them.
        settings: rank, alpha, targets.
        metadata: what the course wrote beside them (base model, data set hash, ...); empty for files of
            other programs.
        layout: how the file names its tensors, a key of `LAYOUTS`.
        text_encoder: the same for the text encoder's part, under the names of ChatGLM's layers; usually empty.
            `settings` hold for it too, but for the targets, see `text_settings`.
    """

    path: Path
    state_dict: dict[str, Tensor] = field(repr=False)
    settings: LoraSettings
    metadata: dict[str, Any]
    layout: str = "diffusers"
    text_encoder: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def base_model(self) -> str:
        """The model it was trained on, or "an unknown base model"."""
        return self.metadata.get("base_model", "an unknown base model")


@dataclass(frozen=True)
class OpenedLora:
    """A LoRA file as it is, before an alpha that it may lack is known.

    Attributes:
        path, layout, state_dict, text_encoder: as in `LoraFile`.
        alpha: what the file says; None where it does not.
        adapter: the `peft.LoraConfig` beside the tensors, if any.
        course: what the course wrote beside them, if anything.
    """

    path: Path
    layout: str
    state_dict: dict[str, Tensor] = field(repr=False)
    alpha: float | None
    adapter: dict[str, Any]
    course: dict[str, Any]
    text_encoder: dict[str, Tensor] = field(repr=False)


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
        unet_or_state: a U-Net with the LoRA `adapter_name`, or what `lora_state_dict` returned, joined with that of
            the text encoder (`join_parts`) if there is one.
        settings: the settings it was trained with.
        base_model: name of the model it was trained on.
        dataset_hash: hash of the data it was trained on.
        extra: further facts that JSON can hold: prompt notes, number of steps, command.

    Returns:
        `path`.

    Raises:
        CourseError: tensors and settings disagree, `extra` reuses a name, or the file cannot be written.
    """
    state = unet_or_state
    if isinstance(unet_or_state, nn.Module):
        state = lora_state_dict(unet_or_state, adapter_name)
    facts = {"version": __version__, "base_model": base_model, "dataset_hash": dataset_hash}
    facts = {**asdict(settings), **facts}
    if taken := sorted(facts.keys() & (extra or {}).keys()):
        raise CourseError(f"extra LoRA metadata may not be called {', '.join(taken)}: the file has these")
    state, text = split_parts(state)
    lora = LoraFile(Path(path), state, settings, {**facts, **(extra or {})}, text_encoder=text)
    return write_lora(path, lora)


def write_lora(
    path: str | Path, lora: LoraFile, layout: str = "diffusers", unet: nn.Module | None = None
) -> Path:
    """Write a LoRA in one of the `WRITABLE` layouts; its tensors keep every bit.

    "diffusers" and "kohya" hold alpha; "diffsynth" cannot, so whoever reads that file has to know it.

    Args:
        path: ends in .safetensors, or in .ckpt for "diffsynth"; never left half-written.
        unet: the U-Net it belongs to, which may be one without weights; not needed for "diffusers".

    Raises:
        CourseError: unknown layout, wrong ending, tensors and settings disagree, a DoRA, LoKr or LoHa in
            another layout than diffusers, or the file cannot be written.
    """
    path = Path(path)
    if layout not in WRITABLE:
        raise CourseError(f"unknown LoRA layout {layout!r}; use one of {', '.join(WRITABLE)}")
    if path.suffix.lower() != SUFFIXES[layout]:
        raise CourseError(
            f"{path}: a LoRA file in the {layout} layout must be called something{SUFFIXES[layout]}"
        )
    with about(path):
        _check_parts(lora.state_dict, lora.text_encoder, lora.settings)
        layers = adaptable_layers(unet) if unet is not None else ()
        tensors = encode(layout, lora.state_dict, layers, lora.settings.plain_alpha)
        if lora.text_encoder and layout != "diffusers":
            raise CourseError(
                f"its text-encoder part cannot be written for {layout}, whose programs do not know ChatGLM's layers"
            )
        tensors |= join_parts({}, lora.text_encoder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            if layout == "diffsynth":
                # A view would drag along everything it is a view of.
                torch.save({name: tensor.clone() for name, tensor in tensors.items()}, temporary)
            else:
                save_file(tensors, temporary, metadata=_metadata_of(lora, layout))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise CourseError(
                f"cannot write {path}: {error}; free some disk space or choose another folder"
            ) from error
    return path


def _metadata_of(lora: LoraFile, layout: str) -> dict[str, str]:
    if layout == "kohya":
        return kohya_metadata(lora.settings, lora.metadata)
    return diffusers_metadata(lora.settings, lora.metadata, bool(lora.text_encoder))


def read_lora(path: str | Path, *, alpha: float | None = None, unet: nn.Module | None = None) -> LoraFile:
    """Read and check a LoRA file in any of the `LAYOUTS`.

    Args:
        path: a safetensors file, or a pickle of torch (.ckpt, .bin, ...), of which only tensors are read.
        alpha: the alpha of training, only for a file that does not say it; the scale is then alpha/rank.
        unet: the U-Net it belongs to, which may be one without weights; kohya's and DiffSynth's files cannot be
            read without it.

    Raises:
        CourseError: the file is missing, cut short or of another kind; holds no LoRA, half a pair, different
            ranks or alphas, or numbers that are not finite; does not say its alpha and none was given, or says
            another; or uses a feature that `LoraSettings` cannot express.
        MisfitError: its names are those of layers that `unet` does not have.
    """
    return settle_alpha(open_lora(path, unet), alpha)


def open_lora(path: str | Path, unet: nn.Module | None = None) -> OpenedLora:
    """The first half of `read_lora`: everything but the alpha."""
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"there is no LoRA file {path}; check the path")
    tensors, metadata = read_tensors(path)
    with about(path):
        tensors, text = split_parts(tensors)
        decoded = decode(tensors, None if unet is None else adaptable_layers(unet))
        adapter = read_adapter(metadata)
        beside = path.with_name(ADAPTER_CONFIG)
        if path.stem == "adapter_model" and beside.is_file():
            adapter = read_json_entry({ADAPTER_CONFIG: beside.read_text(encoding="utf-8")}, ADAPTER_CONFIG)
        layers = {split_tensor_name(name)[0] for name in decoded.state}
        alpha = stored_alpha(adapter, decoded.alphas, len(layers))
        course = read_json_entry(metadata, COURSE_METADATA_KEY)
    return OpenedLora(path, decoded.layout, decoded.state, alpha, adapter, course, text)


def settle_alpha(opened: OpenedLora, alpha: float | None) -> LoraFile:
    """The second half of `read_lora`: the alpha of the file, or else the one given."""
    with about(opened.path):
        if opened.alpha is None and alpha is None:
            raise CourseError(
                "the file does not say its alpha, and a wrong one changes its strength in silence; give the one "
                "used in training: alpha= in Python, --alpha of kolors-course convert-lora, alpha of the ComfyUI "
                "node (the camp's command used 4)"
            )
        if opened.alpha is not None and alpha is not None and opened.alpha != alpha:
            raise CourseError(
                f"the file says alpha {opened.alpha}, not {alpha}; leave alpha out, and use the strength to "
                "weaken it"
            )
        alpha = alpha if opened.alpha is None else opened.alpha
        settings = read_settings(opened.state_dict, opened.adapter, opened.course, alpha)
        _check_parts(opened.state_dict, opened.text_encoder, settings)
    return LoraFile(
        opened.path, opened.state_dict, settings, opened.course, opened.layout, opened.text_encoder
    )


def _check_parts(
    state: Mapping[str, Tensor], text_encoder: Mapping[str, Tensor], settings: LoraSettings
) -> None:
    _check_tensors(state, settings)
    if text_encoder:
        _check_tensors(text_encoder, settings)


def _check_tensors(state: Mapping[str, Tensor], settings: LoraSettings) -> None:
    if not state:
        raise CourseError("there are no LoRA tensors")
    parts: dict[str, set[str]] = {}
    for name, tensor in state.items():
        module, part = split_tensor_name(name)
        parts.setdefault(module, set()).add(part)
        _check_tensor(name, part, tensor, settings.rank)
    for module, found in parts.items():
        needed = complete_parts(found, settings.adapter, settings.use_dora)
        if found != needed:
            wrong = ", ".join(sorted(found ^ needed))
            raise CourseError(f"{module} is incomplete or has too much ({wrong}); save the file again")


def _check_tensor(name: str, part: str, tensor: Tensor, rank: int) -> None:
    if not tensor.is_floating_point() or not torch.isfinite(tensor.float()).all():
        raise CourseError(f"{name} holds numbers that are not finite; the training diverged")
    axis = rank_axis(part)
    if axis is not None and (tensor.ndim < 2 or tensor.shape[axis] != rank):
        raise CourseError(
            f"{name} has shape {tuple(tensor.shape)}, which is not of rank {rank}; the course loads LoRAs of one "
            "rank"
        )
