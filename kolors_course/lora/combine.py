"""One LoRA that does what several do together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.config import LoraSettings, check_strength
from kolors_course.lora.files import LoraFile
from kolors_course.lora.kinds import KIND_NAMES, split_tensor_name
from kolors_course.lora.svd import shrink


@dataclass(frozen=True)
class Combination:
    """A new LoRA, and the share of the squared change of weight it keeps: 1 where it is exact."""

    state: dict[str, Tensor] = field(repr=False)
    settings: LoraSettings
    energy: float


def combine_loras(loras: Sequence[tuple[LoraFile, float]], rank: int | None = None) -> Combination:
    """Σ strength · scale · B A as a single LoRA.

    Factors one above the other and side by side give the sum: [B₁ B₂] [A₁; A₂] = B₁ A₁ + B₂ A₂. The rank is the
    sum of the ranks; a layer that one of the LoRAs does not have gets zeros there. The first scale stays outside
    as alpha/rank, and another one goes into its B in float32, unless it is the same: then every number stays.

    Args:
        loras: files and strengths.
        rank: a smaller rank to shrink the sum to, by singular value decomposition.

    Raises:
        CourseError: fewer than two LoRAs, a DoRA, LoKr or LoHa, a strength of 0, different shapes of a layer, or
            `rank` is not below the sum of the ranks.
    """
    factors = [_scaled(lora, check_strength(strength)) for lora, strength in loras]
    if len(factors) < 2:
        raise CourseError("give two or more LoRAs to combine")
    first = abs(factors[0])
    full = sum(lora.settings.rank for lora, _ in loras)
    if rank is not None and not 1 <= rank < full:
        raise CourseError(f"rank {rank}: give a rank from 1 to {full - 1}, below the sum of the ranks")
    layers = dict.fromkeys(split_tensor_name(name)[0] for lora, _ in loras for name in lora.state_dict)
    state, kept, total = {}, 0.0, 0.0
    for layer in layers:
        A, B = _stacked([lora for lora, _ in loras], [factor / first for factor in factors], layer)
        if rank is not None:
            small = shrink(A, B, rank)
            A, B = small.A, small.B
            kept, total = kept + small.kept, total + small.total
        state |= {f"{layer}.lora_A.weight": A, f"{layer}.lora_B.weight": B}
    rank = rank or full
    return Combination(state, LoraSettings(rank, first * rank, tuple(layers)), kept / total if total else 1.0)


def _scaled(lora: LoraFile, strength: float) -> float:
    """The whole factor in front of B @ A."""
    if lora.settings.use_dora:
        raise CourseError(f"{lora.path} is a DoRA, whose row lengths cannot be added; merge it into a model")
    if lora.settings.adapter != "lora":
        name = KIND_NAMES[lora.settings.adapter]
        raise CourseError(f"{lora.path} is a {name}, whose ΔW is no product B A; merge it into a model")
    if lora.text_encoder:
        raise CourseError(
            f"{lora.path} adapts the text encoder too, and only LoRAs of the U-Net can be combined"
        )
    if not strength:
        raise CourseError(f"{lora.path} has strength 0; leave it out")
    return strength * lora.settings.scale


def _stacked(loras: Sequence[LoraFile], factors: Sequence[float], layer: str) -> tuple[Tensor, Tensor]:
    """A (sum of ranks, in, ...) and B (out, sum of ranks, ...) of one layer."""
    pairs = [[lora.state_dict.get(f"{layer}.lora_{factor}.weight") for factor in "AB"] for lora in loras]
    model_A, model_B = next(pair for pair in pairs if pair[0] is not None)
    down, up = [], []
    for lora, factor, (A, B) in zip(loras, factors, pairs, strict=True):
        if A is None:
            A = model_A.new_zeros(lora.settings.rank, *model_A.shape[1:])
            B = model_B.new_zeros(len(model_B), lora.settings.rank, *model_B.shape[2:])
        if A.shape[1:] != model_A.shape[1:] or len(B) != len(model_B):
            raise CourseError(
                f"{lora.path}: {layer} has another shape than in {loras[0].path}; combine LoRAs of one base model"
            )
        down.append(A)
        up.append(B if factor == 1 else B.float() * factor)
    # torch.cat makes one number format of several, the one that holds them all.
    return torch.cat(down), torch.cat(up, dim=1)
