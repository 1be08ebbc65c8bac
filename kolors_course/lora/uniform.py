"""Files whose layers differ in rank or scale, or have a third factor: the same ΔW in one rank and scale.

The course has one rank and one scale for a file. What has a smaller rank is filled with zeros, which add nothing to a
product; another scale is multiplied into one factor, in float32. kohya's convolutions (conv_dim, conv_alpha),
LyCORIS' presets and peft's rank_pattern and alpha_pattern make such files. A file of one rank and one scale keeps
every bit.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.kinds import check_growth, rank_axis, scaled_part, split_tensor_name


@dataclass(frozen=True)
class Uniform:
    """Tensors of one rank, which all want one scale."""

    state: dict[str, Tensor] = field(repr=False)
    rank: int
    scale: float


def expand_cores(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiply a third factor into one of the other two: the Tucker cores of kohya's and LyCORIS' convolutions, and
    the W₁ = W₁ₐ W₁ᵦ of a LoKr (decompose_both). The rank stays.

    Raises:
        CourseError: factors are missing, or their shapes do not fit each other.
    """
    whole, grown, source = dict(state), 0, sum(tensor.numel() for tensor in state.values())
    for layer, part in [split_tensor_name(name) for name in state]:
        if part not in _CORES:
            continue
        others, expand = _CORES[part]
        if missing := [other for other in others if f"{layer}.{other}" not in whole]:
            raise CourseError(
                f"{layer} is incomplete: it has {part} and no {missing[0]}; save the file again"
            )
        factors = [whole.pop(f"{layer}.{name}").float() for name in (part, *others)]
        # A core multiplies the numbers of the factor beside it by those of the kernel; two factors give a matrix.
        kernel = math.prod(factors[0].shape[2:]) if len(factors) == 3 else factors[0].shape[0]
        grown += kernel * max(factor.numel() for factor in factors[1:])
        check_growth(grown, source)
        try:
            changed = expand(*factors)
        except (RuntimeError, IndexError) as error:
            raise CourseError(f"the factors of {layer} do not fit each other; save the file again") from error
        whole |= {f"{layer}.{name}": tensor for name, tensor in changed.items()}
    return whole


def layer_ranks(state: Mapping[str, Tensor]) -> dict[str, int | None]:
    """The rank of each layer; None where no tensor tells it (a LoKr whose W₂ is whole)."""
    ranks: dict[str, int | None] = {}
    for name, tensor in state.items():
        layer, part = split_tensor_name(name)
        axis = rank_axis(part)
        told = tensor.shape[axis] if axis is not None and tensor.ndim > axis else None
        known = ranks.get(layer)
        ranks[layer] = told if known is None else known if told is None else min(known, told)
    return ranks


def make_uniform(
    state: Mapping[str, Tensor],
    kind: str,
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
        (tensor.numel(), rank_axis(split_tensor_name(name)[1]), tensor.shape)
        for name, tensor in state.items()
    ]
    padded = (size if axis is None else size // shape[axis] * rank for size, axis, shape in sizes)
    check_growth(sum(padded), sum(size for size, _, _ in sizes))
    uniform = {}
    for name, tensor in state.items():
        layer, part = split_tensor_name(name)
        if part == scaled_part(kind) and scales[layer] != scale:
            tensor = tensor.float() * (scales[layer] / scale)
        axis = rank_axis(part)
        if axis is not None and ranks[layer] != rank:
            tensor = _padded(tensor, axis, rank)
        uniform[name] = tensor
    return Uniform(uniform, rank, scale)


def _padded(tensor: Tensor, axis: int, size: int) -> Tensor:
    missing = list(tensor.shape)
    missing[axis] = size - tensor.shape[axis]
    return torch.cat([tensor, torch.zeros(missing, dtype=tensor.dtype)], dim=axis)


def _tucker_lora(core: Tensor, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    """core (r, r, h, w), down (r, in, 1, 1), up (out, r, 1, 1)."""
    return {
        "lora_A.weight": torch.einsum("ijhw,jc->ichw", core, down.flatten(1)),
        "lora_B.weight": up,
    }


def _tucker_lycoris(first: str, second: str) -> Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]:
    def expand(core: Tensor, one: Tensor, two: Tensor) -> dict[str, Tensor]:
        """core (r, r, h, w), one (r, out), two (r, in)."""
        return {
            first: one.T.contiguous(),
            second: torch.einsum("ijhw,jc->ichw", core, two).flatten(1),
        }

    return expand


# A third factor -> the two beside it, and what to make of the three.
_CORES: dict[str, tuple[tuple[str, ...], Callable[..., dict[str, Tensor]]]] = {
    "lora_mid.weight": (("lora_A.weight", "lora_B.weight"), _tucker_lora),
    "hada_t1": (("hada_w1_a", "hada_w1_b"), _tucker_lycoris("hada_w1_a", "hada_w1_b")),
    "hada_t2": (("hada_w2_a", "hada_w2_b"), _tucker_lycoris("hada_w2_a", "hada_w2_b")),
    "lokr_t2": (("lokr_w2_a", "lokr_w2_b"), _tucker_lycoris("lokr_w2_a", "lokr_w2_b")),
    "lokr_w1_a": (("lokr_w1_b",), lambda one, two: {"lokr_w1": one @ two}),
}
