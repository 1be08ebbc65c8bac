"""A LoRA as one file, written with everything needed to use it rightly; `lora.reading` reads it.

`KolorsPipeline.load_lora_weights` reads the scale from the metadata entry `lora_adapter_metadata` or from kohya's
`.alpha` tensors, and takes alpha = rank where there is neither: too strong or too weak, without a word. So a file
written here says its alpha wherever its layout can, and one that does not is not read before the caller says it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from kolors_course import __version__
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.lora.adapter import adaptable_layers, lora_state_dict
from kolors_course.lora.checks import check_tensors
from kolors_course.lora.choices import WRITABLE
from kolors_course.lora.config import LoraSettings
from kolors_course.lora.joint import join_parts, split_parts
from kolors_course.lora.kinds import split_tensor_name
from kolors_course.lora.layouts import encode, kohya_form
from kolors_course.lora.metadata import diffusers_metadata, kohya_metadata
from kolors_course.lora.origin import base_name, made_for
from kolors_course.lora.storage import about, write_safetensors

SUFFIXES = {"diffusers": ".safetensors", "kohya": ".safetensors", "diffsynth": ".ckpt"}


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
        foreign: what other programs wrote beside them: title, licence, trigger words, ...
    """

    path: Path
    state_dict: dict[str, Tensor] = field(repr=False)
    settings: LoraSettings
    metadata: dict[str, Any]
    layout: str = "diffusers"
    text_encoder: dict[str, Tensor] = field(default_factory=dict, repr=False)
    foreign: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def base_model(self) -> str:
        """The model it was trained on, or "an unknown base model"."""
        return base_name(self.metadata, self.foreign)

    @property
    def made_for(self) -> str:
        """The family of models it says it was made for, such as "SDXL"; "" where it does not say."""
        return made_for(self.foreign)


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
    if isinstance(unet_or_state, nn.Module):
        unet_or_state = lora_state_dict(unet_or_state, adapter_name)
    facts = {"version": __version__, "base_model": base_model, "dataset_hash": dataset_hash}
    facts = {**asdict(settings), **facts}
    if taken := sorted(facts.keys() & (extra or {}).keys()):
        raise CourseError(f"extra LoRA metadata may not be called {', '.join(taken)}: the file has these")
    state, text = split_parts(unet_or_state)
    lora = LoraFile(Path(path), state, settings, {**facts, **(extra or {})}, text_encoder=text)
    return write_lora(path, lora)


def write_lora(
    path: str | Path, lora: LoraFile, layout: str = "diffusers", unet: nn.Module | None = None
) -> Path:
    """Write a LoRA in one of the `WRITABLE` layouts; its tensors keep every bit, but for the factor of a LoKr or LoHa
    that takes in the scale for "kohya" (see `encode`). Equal LoRAs give equal files, byte by byte.

    "diffusers" and "kohya" hold alpha; "diffsynth" cannot, so whoever reads that file has to know it.

    Args:
        path: ends in .safetensors, or in .ckpt for "diffsynth"; never left half-written.
        unet: the U-Net it belongs to, which may be one without weights; not needed for "diffusers".

    Raises:
        CourseError: unknown layout, wrong ending, tensors and settings disagree, a DoRA in
            another layout than diffusers, a LoKr or LoHa in that of DiffSynth, or the file cannot be written.
    """
    path = Path(path)
    if layout not in WRITABLE:
        raise CourseError(f"unknown LoRA layout {layout!r}; use one of {', '.join(WRITABLE)}")
    if path.suffix.lower() != SUFFIXES[layout]:
        raise CourseError(
            f"{path}: a LoRA file in the {layout} layout must be called something{SUFFIXES[layout]}"
        )
    with about(path):
        _check(lora)
        layers = adaptable_layers(unet) if unet is not None else ()
        tensors = encode(layout, lora.state_dict, layers, lora.settings.plain_alpha, lora.settings.rank)
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
                with temporary.open("wb") as file:  # by a path, torch would write its name into the file
                    torch.save({name: tensor.clone() for name, tensor in tensors.items()}, file)
            else:
                write_safetensors(tensors, temporary, _metadata_of(lora, layout))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise CourseError(
                f"cannot write {path}: {error}; free some disk space or choose another folder"
            ) from error
    return path


def _metadata_of(lora: LoraFile, layout: str) -> dict[str, str]:
    """What is said beside the tensors; the entries of other programs stay, where ours do not say it better."""
    if layout != "kohya":
        own = diffusers_metadata(lora.settings, lora.metadata, bool(lora.text_encoder))
        kept = {
            key: value
            for key, value in lora.foreign.items()
            if key not in ("ss_network_dim", "ss_network_alpha")
        }
        return kept | own
    settings = lora.settings
    if not kohya_form(settings.kind).keeps_alpha:  # the scale is in the tensors
        settings = replace(settings, alpha=float(settings.rank))
    own = kohya_metadata(settings, lora.metadata)
    if said := lora.foreign.get("modelspec.architecture"):
        own["modelspec.architecture"] = said
    return lora.foreign | own


def _check(lora: LoraFile) -> None:
    for state in (lora.state_dict, lora.text_encoder):
        if state or state is lora.state_dict:
            ranks = dict.fromkeys((split_tensor_name(name)[0] for name in state), lora.settings.rank)
            check_tensors(state, lora.settings.kind, lora.settings.use_dora, ranks)
