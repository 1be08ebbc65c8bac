"""A frozen U-Net whose linear layers are kept in four or eight bits while a LoRA is trained on it.

QLoRA (arXiv 2305.14314) stores weights as 4-bit normal floats, LLM.int8() (arXiv 2208.07339) as 8-bit whole numbers;
both compute in the type that the weights had before. The package bitsandbytes does the work.
"""

import importlib
from types import ModuleType

import torch
from torch import nn

from kolors_course.errors import CourseError
from kolors_course.kolors.choices import QUANTIZATIONS


def quantize_unet(unet: nn.Module, kind: str, device: torch.device | str) -> int:
    """Replace the linear layers of all transformer blocks and move the U-Net to `device`.

    These layers hold six of seven weights of Kolors. The rest, convolutions and embeddings, keeps its type: it is
    small, and an error in an embedding shows in every pixel.

    Args:
        kind: one of `QUANTIZATIONS`.

    Returns:
        The number of layers replaced.

    Raises:
        CourseError: unknown kind, or bitsandbytes is not installed.
    """
    bnb = _bitsandbytes(kind)
    layers = quantizable_layers(unet)
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(unet.get_submodule(parent), child, _quantized(bnb, layer, kind).to(device))
        del layer.weight  # given back at once: the whole U-Net must not lie in memory twice
    unet.to(device)
    return len(layers)


def quantizable_layers(unet: nn.Module) -> dict[str, nn.Linear]:
    """The layers that `quantize_unet` replaces, by name."""
    return {
        name: layer
        for name, layer in unet.named_modules()
        if isinstance(layer, nn.Linear) and ".transformer_blocks." in name
    }


def quantization_of(unet: nn.Module) -> str | None:
    """The kind that `quantize_unet` was called with; None for plain weights."""
    types = {type(layer).__name__ for layer in unet.modules()}
    return "nf4" if "Linear4bit" in types else "int8" if "Linear8bitLt" in types else None


def check_quantization(kind: str | None) -> None:
    """Refuse a kind that cannot be used here; None is always possible.

    Raises:
        CourseError: see `quantize_unet`.
    """
    if kind is not None:
        _bitsandbytes(kind)


def _bitsandbytes(kind: str) -> ModuleType:
    if kind not in QUANTIZATIONS:
        raise CourseError(f"quantization '{kind}' is not one of {', '.join(QUANTIZATIONS)}")
    try:
        return importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise CourseError(
            f"weights in {kind} need the package bitsandbytes: pip install bitsandbytes, or leave them as they are"
        ) from error


def _quantized(bnb: ModuleType, layer: nn.Linear, kind: str) -> nn.Linear:
    """A layer of bitsandbytes with the weights of `layer`; they are converted when it is moved to its device."""
    weight = layer.weight.detach().cpu()  # int8 converts only what comes from the CPU
    shape = (layer.in_features, layer.out_features, layer.bias is not None)
    with torch.device("meta"):
        if kind == "nf4":
            new = bnb.nn.Linear4bit(*shape, compute_dtype=weight.dtype, quant_type="nf4")
        else:
            new = bnb.nn.Linear8bitLt(*shape, has_fp16_weights=False)
    if kind == "nf4":
        new.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
    else:
        new.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    new.bias = layer.bias
    return new.requires_grad_(False)
