"""Using LoRA files: loading several at their strengths, taking them off, merging them into the weights."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusers import UNet2DConditionModel
from diffusers.loaders import PeftAdapterMixin
from diffusers.pipelines.kolors.text_encoder import ChatGLMModel
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from torch import Tensor, nn

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import (
    Layer,
    MisfitError,
    active_adapters,
    adaptable_layers,
    attach_adapter,
    check_adapter_name,
    first_few,
    layer_tensors,
    load_lora_state_dict,
    loaded_adapters,
    lora_layers,
    match_layers,
    take_shapes,
)
from kolors_course.lora.config import LoraSettings, check_strength
from kolors_course.lora.files import LoraFile
from kolors_course.lora.joint import text_settings
from kolors_course.lora.kinds import part_shapes, split_tensor_name
from kolors_course.lora.reading import read_lora


@dataclass(frozen=True)
class LoadReport:
    """What `load_lora` did.

    Attributes:
        adapter_name: the name by which `set_lora_strengths` knows it.
        matched: tensors of the file that went into the U-Net.
        expected: tensors that the LoRA's target modules need in this U-Net; equal to `matched`.
        strength: 1 is the trained strength.
        settings: rank, alpha and targets from the file.
        base_model: the model it was trained on.
        made_for: the family of models it says it was made for, such as "SDXL"; "" where it does not say.
    """

    adapter_name: str
    matched: int
    expected: int
    strength: float
    settings: LoraSettings
    base_model: str
    made_for: str = ""


def load_lora(
    unet: nn.Module,
    path: str | Path,
    strength: float = 1.0,
    *,
    adapter_name: str | None = None,
    alpha: float | None = None,
    text_encoder: nn.Module | None = None,
) -> LoadReport:
    """Load a LoRA file beside those already loaded; W x becomes W x + Σ strength · scale · B A x.

    Other kinds than LoRA add their own ΔW instead, see `lora.kinds`.

    Strict: either every tensor finds its layer, or U-Net and text encoder are left as they were. The new tensors
    are frozen and of the U-Net's dtype, as in stock diffusers. Of a DoRA, strength scales B A only, as in peft;
    its learned row lengths stay.

    Args:
        unet: a diffusers `UNet2DConditionModel`, changed in place.
        strength: 1 is the trained strength, 0 none.
        adapter_name: the default is made from the name of the file.
        alpha: only for a file that does not say its alpha, see `read_lora`.
        text_encoder: changed in place too, by a file that has a part for it.

    Raises:
        CourseError: the file cannot be read (see `read_lora`), does not fit this U-Net or text encoder, has a part
            for the text encoder and none was given, or the strength or the adapter name is not usable.
    """
    strength = check_strength(strength)
    lora = read_lora(path, alpha=alpha, unet=unet)
    expected = check_fit(unet, lora) + _check_text_fit(text_encoder, lora)
    parts = [(unet, lora.settings, lora.state_dict)]
    if lora.text_encoder and text_encoder is not None:
        parts.append((text_encoder, text_settings(lora.settings), lora.text_encoder))
    modules = [module for module, _, _ in parts]
    if adapter_name is None:
        adapter_name = _free_name(modules, lora.path.stem)
    for module in modules:
        check_adapter_name(module, adapter_name)
    try:
        for module, settings, state in parts:
            attach_adapter(module, settings, adapter_name, seed=0)
            take_shapes(module, state, settings.kind, adapter_name)
            load_lora_state_dict(module, state, adapter_name)
            set_lora_strengths(module, {adapter_name: strength})
    except BaseException:
        for module in modules:
            _detach(module, adapter_name)
        raise
    matched = sum(len(state) for _, _, state in parts)
    return LoadReport(
        *(adapter_name, matched, expected, strength, lora.settings, lora.base_model, lora.made_for)
    )


def share_weights(unet: nn.Module) -> nn.Module:
    """A second U-Net beside `unet`, with its LoRAs: its tensors are the same ones, so it needs hardly any memory.

    What is loaded into either afterwards, the other does not see. Neither may be merged, moved or cast: that
    would change the tensors of both.
    """
    tensors = (*unet.parameters(), *unet.buffers())
    return copy.deepcopy(unet, {id(tensor): tensor for tensor in tensors})


def set_lora_strengths(unet: nn.Module, strengths: Mapping[str, float]) -> None:
    """Change the strength of loaded LoRAs by adapter name; the others keep theirs.

    Raises:
        CourseError: no LoRA has that name, or a strength is not a finite number.
    """
    checked = {name: check_strength(strength) for name, strength in strengths.items()}
    if unknown := sorted(checked.keys() - set(loaded_adapters(unet))):
        loaded = first_few(loaded_adapters(unet)) or "none"
        raise CourseError(f"no LoRA called {first_few(unknown)} is loaded (loaded: {loaded})")
    for _, wrapper in lora_layers(unet):
        for name, strength in checked.items():
            wrapper.set_scale(name, strength)


def unload_lora(unet: UNet2DConditionModel | ChatGLMModel) -> None:
    """Take every LoRA off: the U-Net (or text encoder) computes again exactly what it did before the first."""
    if isinstance(unet, PeftAdapterMixin):
        unet.unload_lora()
    elif loaded_adapters(unet):  # transformers can only delete adapters, and leaves their wrappers behind
        recurse_remove_peft_layers(unet)
        del unet.peft_config
    vars(unet).pop("_hf_peft_config_loaded", None)  # both leave the flag of adapters; the class has its own


def merge_lora(unet: UNet2DConditionModel) -> int:
    """Add the active LoRAs at their strengths to the weights, W += strength · scale · B A.

    The U-Net then is a plain one of the new weights; LoRAs that were not active are dropped.

    Returns:
        The number of layers changed.

    Raises:
        CourseError: no LoRA is active, or a merged weight overflows; then load the U-Net again.
    """
    active = active_adapters(unet)
    wrappers = [
        (name, wrapper)
        for name, wrapper in lora_layers(unet)
        if any(layer_tensors(wrapper, adapter) for adapter in active)
    ]
    if not wrappers:
        raise CourseError("there is no LoRA to merge into this U-Net; load one first")
    for _, wrapper in wrappers:
        try:
            wrapper.merge(safe_merge=True)
        except ValueError as error:
            raise CourseError(f"{error}: load the U-Net again, in float32, or use less strength") from error
    unet.unload_lora()
    return len({name for name, _ in wrappers})


def check_fit(unet: nn.Module, lora: LoraFile) -> int:
    """Return how many tensors the target modules of `lora` need in `unet`, which may be one without weights.

    Raises:
        MisfitError: `lora` has layers or shapes that `unet` does not have: it was trained on another U-Net.
        CourseError: it lacks tensors that its target modules need here, or has more.
    """
    layers = adaptable_layers(unet)
    state, settings = lora.state_dict, lora.settings
    origin = f"the file was trained on {lora.base_model}: choose the base model it belongs to"
    if strange := [name for name in state if split_tensor_name(name)[0] not in layers]:
        raise MisfitError(
            f"{lora.path}: {len(strange)} of {len(state)} tensors name layers that this model does not have "
            f"(first: {first_few(strange)}); {origin}"
        )
    held = {layer: layers[layer] for layer in (split_tensor_name(name)[0] for name in state)}
    shapes = _tensor_shapes(held, settings, state)
    for name, tensor in state.items():
        wanted = shapes.get(name, "no such tensor")
        if tuple(tensor.shape) != wanted:
            raise MisfitError(
                f"{lora.path}: {name} is {tuple(tensor.shape)}, but this model needs {wanted}; {origin}"
            )
    needed = _tensor_shapes(match_layers(layers, settings.target_modules), settings, state)
    if odd := sorted(needed.keys() ^ state.keys()):
        raise CourseError(
            f"{lora.path}: its tensors and its target modules disagree about {len(odd)} tensors "
            f"(first: {first_few(odd)}); {origin}"
        )
    return len(needed)


def _tensor_shapes(
    layers: Mapping[str, Layer], settings: LoraSettings, state: Mapping[str, Tensor]
) -> dict[str, tuple[int, ...]]:
    """The shapes of a LoRA's tensors in these layers, by name; free ones as `state` has them."""
    shapes = {
        name: part_shapes(
            layer, settings.adapter, settings.rank, settings.use_dora, settings.kind.of_layer(state, name)
        )
        for name, layer in layers.items()
    }
    return {f"{name}.{part}": shape for name, parts in shapes.items() for part, shape in parts.items()}


def _check_text_fit(text_encoder: nn.Module | None, lora: LoraFile) -> int:
    """How many tensors the text encoder needs; 0 for a LoRA of the U-Net alone."""
    if not lora.text_encoder:
        return 0
    if text_encoder is None:
        raise CourseError(
            f"{lora.path} adapts the text encoder too; give it as text_encoder=, or half of what was learned is lost"
        )
    part = LoraFile(lora.path, lora.text_encoder, text_settings(lora.settings), lora.metadata)
    return check_fit(text_encoder, part)


def parse_lora_argument(text: str) -> tuple[Path, float]:
    """Read `FILE[:STRENGTH]` from the command line; without a strength it is 1.

    A colon inside the path is left alone (`C:\\loras\\ink.safetensors`, `a:b/ink.safetensors`). A file
    without an extension whose name has a colon needs its strength written out: `ink:v2:1`.

    Raises:
        CourseError: there is no file name, or the strength is not a finite number.
    """
    head, colon, tail = text.rpartition(":")
    # An extension starts with a letter, which the decimals of a number do not.
    tail_is_path = re.search(r"[/\\]|\.[A-Za-z]\w*$", tail) is not None
    file, strength = (head, tail) if colon and not tail_is_path else (text, "1")
    if not file:
        raise CourseError(f"LoRA {text!r}: the file name is missing; write FILE or FILE:STRENGTH")
    try:
        return Path(file), check_strength(float(strength))
    except (ValueError, CourseError) as error:
        raise CourseError(
            f"LoRA {text!r}: the strength {strength!r} is not a finite number; write for example {file}:0.8"
        ) from error


def _detach(module: UNet2DConditionModel | ChatGLMModel, adapter_name: str) -> None:
    """Take one LoRA off, if it is on."""
    if loaded_adapters(module) == [adapter_name]:
        unload_lora(module)
    elif adapter_name in loaded_adapters(module):
        delete = module.delete_adapters if isinstance(module, PeftAdapterMixin) else module.delete_adapter
        delete(adapter_name)


def _free_name(modules: Sequence[nn.Module], stem: str) -> str:
    # The number keeps "train.safetensors" from clashing with a method of ModuleDict.
    stem, taken = re.sub(r"\W", "_", stem), {name for module in modules for name in loaded_adapters(module)}
    return next(name for n in range(1, len(taken) + 2) if (name := f"{stem}_{n}") not in taken)
