"""A LoRA without peft: put our own layers into a model, take their tensors out, merge them. For reading and lessons.

The tensors have peft's names, so `save_lora` writes the same file as for a LoRA that peft trained.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import match_layers
from kolors_course.lora.config import LoraSettings
from kolors_course.lora.maths import DoRALinear, LoRALinear


def inject_lora(model: nn.Module, settings: LoraSettings, *, generator: torch.Generator) -> list[str]:
    """Replace the linear layers that `settings.target_modules` name by `LoRALinear` or, for DoRA, `DoRALinear`.

    Everything else is frozen. The model computes what it did before, until it is trained.

    Args:
        model: changed in place.
        settings: rank, alpha, targets, rsLoRA, DoRA. A starts Gaussian.
        generator: draws A.

    Returns:
        The names of the layers replaced.

    Raises:
        CourseError: a target names no linear layer, or there are LoRA layers already.
    """
    if _wrapped(model):
        raise CourseError("this model has LoRA layers already; merge them first")
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    for target in settings.target_modules:
        if not match_layers(layers, (target,)):
            raise CourseError(
                f"target module {target!r} names no linear layer; there are {', '.join(layers)}"
            )
    targets = match_layers(layers, settings.target_modules)
    model.requires_grad_(False)
    kind = DoRALinear if settings.use_dora else LoRALinear
    for name, layer in targets.items():
        _replace(model, name, kind(layer, settings.rank, settings.alpha, generator, settings.use_rslora))
    return list(targets)


def scratch_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The LoRA's tensors under peft's names: `<module>.lora_A.weight`, `<module>.lora_B.weight` and, of a DoRA,
    `<module>.lora_magnitude_vector`.

    Raises:
        CourseError: the model has no LoRA layers.
    """
    state = {}
    for name, layer in _wrapped(model).items():
        state[f"{name}.lora_A.weight"] = layer.lora_A.detach()
        state[f"{name}.lora_B.weight"] = layer.lora_B.detach()
        if isinstance(layer, DoRALinear):
            state[f"{name}.lora_magnitude_vector"] = layer.magnitude.detach()
    if not state:
        raise CourseError("this model has no LoRA layers; inject some first")
    return state


def merge_scratch(model: nn.Module) -> int:
    """Replace every LoRA layer by one plain layer that computes the same; return how many there were."""
    wrapped = _wrapped(model)
    for name, layer in wrapped.items():
        _replace(model, name, layer.merge())
    return len(wrapped)


def count_parameters(parameters: Iterable[nn.Parameter]) -> tuple[int, int]:
    """How many numbers are learned, and how many there are."""
    sizes = [(p.numel() if p.requires_grad else 0, p.numel()) for p in parameters]
    return sum(learned for learned, _ in sizes), sum(size for _, size in sizes)


def _wrapped(model: nn.Module) -> dict[str, LoRALinear]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoRALinear)}


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)
