"""A LoRA out of two full models: what fine-tuning changed, in factors of low rank."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import first_few
from kolors_course.lora.config import LoraSettings
from kolors_course.lora.svd import Factors, factorise


@dataclass(frozen=True)
class Extraction:
    """A LoRA that turns the base model into (nearly) the tuned one.

    Attributes:
        state, settings: the LoRA; alpha is the rank, so the scale is 1.
        energy: the share of the squared change of weight that it keeps, by layer.
        total_energy: the same of all layers together.
        left_out: tensors that the tuning changed too, and that the LoRA does not hold: biases, norms, and
            layers that were not asked for.
    """

    state: dict[str, Tensor] = field(repr=False)
    settings: LoraSettings
    energy: dict[str, float] = field(repr=False)
    total_energy: float
    left_out: tuple[str, ...]


@torch.no_grad()
def extract_lora(
    base: Mapping[str, Tensor],
    tuned: Mapping[str, Tensor],
    layers: Iterable[str],
    rank: int,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] | None = None,
) -> Extraction:
    """The LoRA of rank `rank` closest to `tuned - base`, layer by layer (singular value decomposition).

    Layers that did not change are not in it.

    Args:
        base, tuned: all tensors of two U-Nets by name (see `read_unet_weights`).
        layers: names of the layers to look at, such as `adaptable_layers` gives.
        device: where to decompose.
        progress: called with the number of layers done so far.

    Raises:
        CourseError: the U-Nets are of different shapes, none of the layers changed, or a weight is not finite.
    """
    settings = LoraSettings(rank, float(rank))
    _check_alike(base, tuned)
    changed = [name for name in base if not torch.equal(base[name].float(), tuned[name].float())]
    wanted = [layer for layer in layers if f"{layer}.weight" in changed]
    if not wanted:
        raise CourseError(
            "none of the layers asked for differs between the two models "
            f"(changed: {first_few(changed) or 'nothing'})"
        )
    found: dict[str, Factors] = {}
    for layer in wanted:
        found[layer] = factorise(_difference(base, tuned, f"{layer}.weight", device), rank)
        if progress:
            progress(len(found))
    state: dict[str, Tensor] = {}
    for layer, factors in found.items():
        state |= {f"{layer}.lora_A.weight": factors.A.cpu(), f"{layer}.lora_B.weight": factors.B.cpu()}
    return Extraction(
        state,
        LoraSettings(settings.rank, settings.alpha, tuple(wanted)),
        {layer: factors.kept / factors.total for layer, factors in found.items()},
        sum(factors.kept for factors in found.values()) / sum(factors.total for factors in found.values()),
        tuple(name for name in changed if name.removesuffix(".weight") not in found),
    )


def _difference(
    base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], key: str, device: torch.device | str
) -> Tensor:
    """tuned - base of one weight, in float32 on `device`."""
    one, two = (weights[key].to(device).float() for weights in (base, tuned))
    for which, weight in (("base", one), ("tuned", two)):
        if not weight.isfinite().all():
            raise CourseError(
                f"{key} of the {which} model holds numbers that are not finite; copy or download it again, or use "
                "one from before the training diverged"
            )
    return two - one


def _check_alike(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> None:
    odd = sorted(base.keys() ^ tuned.keys())
    odd = odd or [name for name in base if base[name].shape != tuned[name].shape]
    if odd:
        raise CourseError(
            f"the two U-Nets differ in {len(odd)} names or shapes (first: {first_few(odd)}); both must be of the "
            "same kind"
        )
