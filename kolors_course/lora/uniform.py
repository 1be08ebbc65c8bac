"""Files whose layers differ in rank or scale, or have a third factor: the same ΔW in one rank and scale.

The course has one rank and one scale for a file. What has a smaller rank is filled with zeros, which add nothing to a
product; another scale is multiplied into one factor, in float32. kohya's convolutions (conv_dim, conv_alpha),
LyCORIS' presets and peft's rank_pattern and alpha_pattern make such files. A file of one rank and one scale keeps
every bit.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.growth import check_growth
from kolors_course.lora.kind import Kind
from kolors_course.lora.kinds import KINDS, kind_of, split_tensor_name


@dataclass(frozen=True)
class Uniform:
    """Tensors of one rank, which all want one scale."""

    state: dict[str, Tensor] = field(repr=False)
    rank: int
    scale: float


def expand_cores(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiply a factor more than a kind has into one of the others: the Tucker cores of kohya's and LyCORIS'
    convolutions, and the W₁ = W₁ₐ W₁ᵦ of a LoKr (decompose_both); see `Kind.cores`. The rank stays.

    Raises:
        CourseError: factors are missing, or their shapes do not fit each other.
    """
    cores = {part: core for kind in KINDS.values() for part, core in kind.cores.items()}
    whole, grown, source = dict(state), 0, sum(tensor.numel() for tensor in state.values())
    for layer, part in [split_tensor_name(name) for name in state]:
        if part not in cores:
            continue
        core = cores[part]
        if missing := [other for other in core.others if f"{layer}.{other}" not in whole]:
            raise CourseError(
                f"{layer} is incomplete: it has {part} and no {missing[0]}; save the file again"
            )
        factors = [whole.pop(f"{layer}.{name}").float() for name in (part, *core.others)]
        # A core multiplies the numbers of the factor beside it by those of the kernel; two factors give a matrix.
        kernel = math.prod(factors[0].shape[2:]) if len(factors) == 3 else factors[0].shape[0]
        grown += kernel * max(factor.numel() for factor in factors[1:])
        check_growth(grown, source)
        try:
            changed = core.expand(*factors)
        except (RuntimeError, IndexError) as error:
            raise CourseError(f"the factors of {layer} do not fit each other; save the file again") from error
        whole |= {f"{layer}.{name}": tensor for name, tensor in changed.items()}
    return whole


def layer_ranks(state: Mapping[str, Tensor]) -> dict[str, int | None]:
    """The rank of each layer; None where no tensor tells it (a LoKr whose W₂ is whole)."""
    ranks: dict[str, int | None] = {}
    for name, tensor in state.items():
        layer, part = split_tensor_name(name)
        axis = kind_of([name]).rank_axes.get(part)
        told = tensor.shape[axis] if axis is not None and tensor.ndim > axis else None
        known = ranks.get(layer)
        ranks[layer] = told if known is None else known if told is None else min(known, told)
    return ranks


def make_uniform(
    state: Mapping[str, Tensor],
    kind: Kind,
    ranks: Mapping[str, int | None],
    scales: Mapping[str, float],
    rank: int,
) -> Uniform:
    """Bring all layers to `rank` and to the scale that most of them have.

    Args:
        ranks, scales: by layer.
        rank: at least the largest of `ranks`.
    """
    scale = Counter(scales.values()).most_common(1)[0][0]
    sizes = [
        (tensor.numel(), kind.rank_axes.get(split_tensor_name(name)[1]), tensor.shape)
        for name, tensor in state.items()
    ]
    padded = (size if axis is None else size // shape[axis] * rank for size, axis, shape in sizes)
    check_growth(sum(padded), sum(size for size, _, _ in sizes))
    uniform = {}
    for name, tensor in state.items():
        layer, part = split_tensor_name(name)
        if part == kind.scaled and scales[layer] != scale:
            tensor = tensor.float() * (scales[layer] / scale)
        axis = kind.rank_axes.get(part)
        if axis is not None and ranks[layer] != rank:
            tensor = _padded(tensor, axis, rank)
        uniform[name] = tensor
    return Uniform(uniform, rank, scale)


def _padded(tensor: Tensor, axis: int, size: int) -> Tensor:
    missing = list(tensor.shape)
    missing[axis] = size - tensor.shape[axis]
    return torch.cat([tensor, torch.zeros(missing, dtype=tensor.dtype)], dim=axis)
