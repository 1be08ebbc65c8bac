"""Attaching a LoRA to a U-Net or a text encoder through peft, and taking its tensors out again."""

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from kolors_course.errors import CourseError, brief
from kolors_course.lora.config import ATTENTION_TARGETS, LoraSettings
from kolors_course.lora.kind import Kind
from kolors_course.lora.kinds import MAGNITUDE

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.pipelines.kolors.text_encoder import ChatGLMModel

Layer = nn.Linear | nn.Conv2d
Module = TypeVar("Module", bound=nn.Module)


class MisfitError(CourseError):
    """A LoRA has other layers than this U-Net, or other shapes: it belongs to another one."""


def add_lora(
    unet: nn.Module,
    settings: LoraSettings,
    *,
    generator: torch.Generator,
    adapter_name: str = "default",
) -> int:
    """Attach a new LoRA for training: afterwards its tensors, and only they, require gradients.

    B starts at zero, so the U-Net computes what it did before. The new tensors are float32 even on a
    half-precision U-Net: steps of the optimiser would round away in half precision. LoRAs that were
    already active stay active, frozen. The global random state is left as it was.

    Args:
        unet: a diffusers `UNet2DConditionModel` (or a transformers model), changed in place.
        generator: draws A; the same state of the generator gives the same tensors.

    Returns:
        The number of layers adapted.

    Raises:
        CourseError: a target names no layer that can be adapted, or the adapter name is taken.
    """
    layers = target_layers(unet, settings.target_modules)
    seed = int(torch.randint(2**63 - 1, (1,), generator=generator, device=generator.device))
    attach_adapter(unet, settings, adapter_name, seed)
    unet.requires_grad_(False)
    for parameter in lora_parameters(unet, adapter_name):
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return len(layers)


def lora_parameters(unet: nn.Module, adapter_name: str = "default") -> list[nn.Parameter]:
    """The tensors of one LoRA, in the order of the layers, for an optimiser.

    Raises:
        CourseError: the U-Net has no LoRA of that name.
    """
    return list(named_lora_parameters(unet, adapter_name).values())


def named_lora_parameters(unet: nn.Module, adapter_name: str = "default") -> dict[str, nn.Parameter]:
    """The tensors of one LoRA by peft's names, see `lora_state_dict`, in the order of the layers.

    Raises:
        CourseError: the U-Net has no LoRA of that name.
    """
    parameters: dict[str, nn.Parameter] = {}
    for name, wrapper in lora_layers(unet):
        parameters |= {
            f"{name}.{part}": tensor for part, tensor in layer_tensors(wrapper, adapter_name).items()
        }
    if not parameters:
        loaded = first_few(loaded_adapters(unet)) or "none"
        raise CourseError(f"this U-Net has no LoRA called {adapter_name!r} (loaded: {loaded})")
    return parameters


def lora_state_dict(unet: nn.Module, adapter_name: str = "default") -> dict[str, Tensor]:
    """The tensors of one LoRA under peft's names: `<module>.lora_A.weight`, `<module>.lora_B.weight`.

    A DoRA has `<module>.lora_magnitude_vector` too; other kinds have the parts of `lora.kinds`.
    Like `state_dict()`, the tensors share memory with the U-Net: clone them to keep a snapshot.

    Raises:
        CourseError: the U-Net has no LoRA of that name.
    """
    return {name: parameter.detach() for name, parameter in named_lora_parameters(unet, adapter_name).items()}


@torch.no_grad()
def load_lora_state_dict(unet: nn.Module, state: Mapping[str, Tensor], adapter_name: str = "default") -> None:
    """Copy `state`, as `lora_state_dict` gave it, into a LoRA that is attached already.

    Raises:
        CourseError: there is no such LoRA, or names or shapes differ; nothing has then been copied.
    """
    parameters = named_lora_parameters(unet, adapter_name)
    odd = sorted(parameters.keys() ^ state.keys())
    odd = odd or [name for name in state if state[name].shape != parameters[name].shape]
    if odd:
        raise CourseError(
            f"the tensors do not fit the LoRA {adapter_name!r}: {first_few(odd)} missing, unknown or of "
            "another shape; attach it with the rank and target modules it was trained with"
        )
    for name, parameter in parameters.items():
        parameter.copy_(state[name])


def target_layers(unet: nn.Module, targets: Iterable[str]) -> dict[str, Layer]:
    """The layers that `targets` name, by their full names.

    Raises:
        CourseError: a target names no linear or convolution layer.
    """
    targets = tuple(targets)
    layers = adaptable_layers(unet)
    for target in targets:
        if not match_layers(layers, (target,)):
            raise CourseError(_explain_no_match(unet, target))
    return match_layers(layers, targets)


def adaptable_layers(unet: nn.Module) -> dict[str, Layer]:
    """Every linear and convolution layer by its full name; the frozen one inside where a LoRA wraps it."""
    layers: dict[str, Layer] = {}
    wrapper = ""
    for name, module in unet.named_modules():
        if wrapper and name.startswith(wrapper):
            continue
        if isinstance(module, BaseTunerLayer):
            wrapper, module = f"{name}.", module.get_base_layer()
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            layers[name] = module
    return layers


def match_layers(layers: Mapping[str, Module], targets: Iterable[str]) -> dict[str, Module]:
    """The layers whose name is a target or ends in "." and a target: peft's own rule for a list."""
    whole = frozenset(targets)
    endings = tuple(f".{target}" for target in whole)
    return {name: layer for name, layer in layers.items() if name in whole or name.endswith(endings)}


def attach_adapter(
    unet: "UNet2DConditionModel | ChatGLMModel", settings: LoraSettings, adapter_name: str, seed: int
) -> None:
    """Inject frozen, freshly initialised LoRA layers and make them active beside those already active.

    Raises:
        CourseError: the adapter name is taken, or cannot be the name of a module, or peft does not have the kind.
    """
    check_adapter_name(unet, adapter_name)
    kind = settings.kind
    if kind.peft is None:
        raise CourseError(f"peft, which puts LoRAs on a model, has no {kind.label}; merge it into a model")
    config = kind.peft(**settings.peft_fields())
    active = active_adapters(unet)
    trainable = {id(parameter) for parameter in unet.parameters() if parameter.requires_grad}
    # peft draws from the global generator of the CPU; seeding through torch.manual_seed would also reset
    # the generators of the accelerators.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Several LoRAs on one U-Net are meant.
        warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
        torch.default_generator.manual_seed(seed)
        unet.add_adapter(config, adapter_name)
    unet.set_adapter([*active, adapter_name])
    # peft unfreezes whatever it activates and freezes the rest.
    for parameter in unet.parameters():
        parameter.requires_grad_(id(parameter) in trainable)


def check_adapter_name(unet: nn.Module, adapter_name: str) -> None:
    """Refuse a name that a new LoRA of this U-Net cannot have.

    Raises:
        CourseError: it is taken, or cannot be the name of a module.
    """
    if adapter_name in loaded_adapters(unet):
        raise CourseError(f"a LoRA called {adapter_name!r} is already loaded; choose another adapter name")
    # peft keeps adapters in a ModuleDict, which refuses dots and the names of its own methods.
    if not adapter_name or "." in adapter_name or hasattr(nn.ModuleDict(), adapter_name):
        raise CourseError(f"{adapter_name!r} cannot name an adapter; use letters, digits and _ as in style_1")


def active_adapters(unet: "UNet2DConditionModel | ChatGLMModel") -> list[str]:
    """The names of the LoRAs that take part in the forward pass, in the order they were activated."""
    return list(unet.active_adapters()) if loaded_adapters(unet) else []


def loaded_adapters(unet: nn.Module) -> list[str]:
    """The names of all LoRAs of this U-Net, active or not."""
    return list(getattr(unet, "peft_config", {}))


def lora_layers(unet: nn.Module) -> list[tuple[str, BaseTunerLayer]]:
    """The wrappers of adapted layers, each with the full name of its layer.

    Adapters of different kinds wrap each other, so a layer may come more than once.
    """
    wrappers = [(name, module) for name, module in unet.named_modules() if isinstance(module, BaseTunerLayer)]
    return [(name.replace(".base_layer", ""), module) for name, module in wrappers]


def layer_tensors(wrapper: BaseTunerLayer, adapter_name: str) -> dict[str, nn.Parameter]:
    """The tensors of one adapter in one layer, by the names of `lora.kinds`; empty if it does not adapt it."""
    tensors = {}
    # peft 0.19 does not list the magnitudes of convolutions among its own names.
    for part in dict.fromkeys((*wrapper.adapter_layer_names, MAGNITUDE)):
        holder = getattr(wrapper, part, None)
        if holder is None or adapter_name not in holder:
            continue
        held = holder[adapter_name]
        if part == MAGNITUDE:
            tensors[part] = held.weight
        else:
            tensors |= {f"{part}.weight": held.weight} if isinstance(held, nn.Module) else {part: held}
    return tensors


def take_shapes(unet: nn.Module, state: Mapping[str, Tensor], kind: Kind, adapter_name: str) -> None:
    """Give the layers of an attached adapter the shapes of `state`, where these are free (`has_free_shapes`)."""
    if not kind.has_free_shapes:
        return
    for name, wrapper in lora_layers(unet):
        held = layer_tensors(wrapper, adapter_name)
        if not held:
            continue
        like = next(iter(held.values()))
        for part in held:
            del getattr(wrapper, part)[adapter_name]
        for part, tensor in kind.of_layer(state, name).items():
            empty = torch.empty(tensor.shape, dtype=like.dtype, device=like.device)
            getattr(wrapper, part)[adapter_name] = nn.Parameter(empty, requires_grad=like.requires_grad)


def first_few(names: Iterable[str], count: int = 3) -> str:
    """The first `count` names, comma-separated, with "…" where some were left out; very long ones are cut."""
    names = list(names)
    return ", ".join(brief(name, 160) for name in names[:count]) + (", …" if len(names) > count else "")


def _explain_no_match(unet: nn.Module, target: str) -> str:
    named = match_layers(dict(unet.named_modules()), (target,))
    fault = "names no layer of this U-Net"
    if named:
        fault = f"is of type {type(next(iter(named.values()))).__name__}, which cannot be adapted"
    return f"target module {target!r} {fault}; use for example {', '.join(ATTENTION_TARGETS)}"
