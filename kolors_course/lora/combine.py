"""One LoRA that does what several do together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.config import LoraSettings, check_strength
from kolors_course.lora.files import LoraFile
from kolors_course.lora.growth import check_growth
from kolors_course.lora.kinds import split_tensor_name
from kolors_course.lora.origin import family_of, join_entries
from kolors_course.lora.svd import shrink
from kolors_course.lora.wishes import SAMPLING_ENTRY, wish_in


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
        CourseError: fewer than two LoRAs, LoRAs made for different models, a DoRA, LoKr or LoHa, a strength of 0,
            different shapes of a layer, or `rank` is not below the sum of the ranks.
    """
    factors = [_scaled(lora, check_strength(strength)) for lora, strength in loras]
    if len(factors) < 2:
        raise CourseError("give two or more LoRAs to combine")
    _check_families([lora for lora, _ in loras])
    first = abs(factors[0])
    full = sum(lora.settings.rank for lora, _ in loras)
    if rank is not None and not 1 <= rank < full:
        raise CourseError(f"rank {rank}: give a rank from 1 to {full - 1}, below the sum of the ranks")
    layers = dict.fromkeys(split_tensor_name(name)[0] for lora, _ in loras for name in lora.state_dict)
    _check_size([lora for lora, _ in loras], full)
    state: dict[str, Tensor] = {}
    kept = total = 0.0
    for layer in layers:
        A, B = _stacked([lora for lora, _ in loras], [factor / first for factor in factors], layer)
        if rank is not None:
            small = shrink(A, B, rank)
            A, B = small.A, small.B
            kept, total = kept + small.kept, total + small.total
        state |= {f"{layer}.lora_A.weight": A, f"{layer}.lora_B.weight": B}
    rank = rank or full
    return Combination(state, LoraSettings(rank, first * rank, tuple(layers)), kept / total if total else 1.0)


def combined_metadata(loras: Sequence[tuple[LoraFile, float]]) -> tuple[dict[str, Any], dict[str, str]]:
    """What a file made of several says: the course's own entry, and that of other programs (see `join_entries`).

    Note, hash of the data and the like are kept as they are where all have the same, and by file in any case.
    """
    files = []
    for lora, strength in loras:
        own = {key: value for key, value in lora.metadata.items() if key not in _SETTINGS}
        files.append({"file": lora.path.name, "strength": strength, **own, "metadata": lora.foreign})
    course: dict[str, Any] = {"base_model": " + ".join(dict.fromkeys(lora.base_model for lora, _ in loras))}
    for key in ("dataset_hash", "note", "prompt_notes"):
        if said := dict.fromkeys(str(lora.metadata[key]) for lora, _ in loras if lora.metadata.get(key)):
            course[key] = " + ".join(said)
    for (
        lora,
        _,
    ) in loras:  # as they would be drawn together: the last that says something goes before the others
        if wish := wish_in(lora.metadata):
            course[SAMPLING_ENTRY] = course.get(SAMPLING_ENTRY, {}) | wish
    return course | {"combined": files}, join_entries(lora.foreign for lora, _ in loras)


_SETTINGS = {item.name for item in fields(LoraSettings)}


def _check_size(loras: Sequence[LoraFile], full: int) -> None:
    """Refuse a sum that is far larger than its parts: each layer of one gets the ranks of all."""
    numbers = [
        tensor.numel() * full // lora.settings.rank for lora in loras for tensor in lora.state_dict.values()
    ]
    check_growth(sum(numbers), sum(tensor.numel() for lora in loras for tensor in lora.state_dict.values()))


def _check_families(loras: Sequence[LoraFile]) -> None:
    """Refuse to add up what belongs to different models, as far as the files say it."""
    families = {family: lora for lora in loras if (family := lora.made_for or family_of(lora.base_model))}
    if len(families) > 1:
        (one, first), (two, second) = list(families.items())[:2]
        raise CourseError(
            f"{first.path} was made for {one} and {second.path} for {two}; LoRAs of different models do not add up"
        )


def _scaled(lora: LoraFile, strength: float) -> float:
    """The whole factor in front of B @ A."""
    if lora.settings.use_dora:
        raise CourseError(f"{lora.path} is a DoRA, whose row lengths cannot be added; merge it into a model")
    kind = lora.settings.kind
    if not kind.is_pair:
        raise CourseError(f"{lora.path} is a {kind.label}, whose ΔW is no product B A; merge it into a model")
    if lora.text_encoder:
        raise CourseError(
            f"{lora.path} adapts the text encoder too, and only LoRAs of the U-Net can be combined"
        )
    if not strength:
        raise CourseError(f"{lora.path} has strength 0; leave it out")
    return strength * lora.settings.scale


def computable(tensor: Tensor) -> Tensor:
    """8-bit floats in the 16 bits that hold all their values: torch stores them, and cannot add or join them."""
    if tensor.element_size() > 1:
        return tensor
    return tensor.half() if tensor.dtype in (torch.float8_e4m3fn, torch.float8_e5m2) else tensor.float()


def _stacked(loras: Sequence[LoraFile], factors: Sequence[float], layer: str) -> tuple[Tensor, Tensor]:
    """A (sum of ranks, in, ...) and B (out, sum of ranks, ...) of one layer."""
    name_A, name_B = (f"{layer}.lora_{factor}.weight" for factor in "AB")
    model = next(lora.state_dict for lora in loras if name_A in lora.state_dict)
    model_A, model_B = model[name_A], model[name_B]
    down, up = [], []
    for lora, factor in zip(loras, factors, strict=True):
        if name_A in lora.state_dict:
            A, B = lora.state_dict[name_A], lora.state_dict[name_B]
        else:
            like_A, like_B = computable(model_A), computable(model_B)
            A = like_A.new_zeros(lora.settings.rank, *model_A.shape[1:])
            B = like_B.new_zeros(len(model_B), lora.settings.rank, *model_B.shape[2:])
        if A.shape[1:] != model_A.shape[1:] or len(B) != len(model_B):
            raise CourseError(
                f"{lora.path}: {layer} has another shape than in {loras[0].path}; combine LoRAs of one base model"
            )
        down.append(computable(A))
        up.append(computable(B) if factor == 1 else B.float() * factor)
    # torch.cat makes one number format of several, the one that holds them all.
    return torch.cat(down), torch.cat(up, dim=1)
