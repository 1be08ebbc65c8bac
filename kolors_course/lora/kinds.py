"""The kinds of adapter that a file can hold: which tensors each has, and what they add to a weight.

* lora: ΔW = s · B A (arXiv 2106.09685).
* lokr: ΔW = s · W₁ ⊗ W₂, a Kronecker product of two small matrices, the larger of which is cut into two factors
  where that saves numbers (LyCORIS, arXiv 2309.14859, section 3).
* loha: ΔW = s · (A₁ B₁) ⊙ (A₂ B₂), a product element by element, whose rank may reach r² (arXiv 2108.06098).

s is alpha/r. Names and factorisation are those of peft, which trains them.
"""

import re
from collections.abc import Collection, Mapping
from math import prod

import torch
from peft.tuners.lokr.layer import factorization
from torch import Tensor, nn

from kolors_course.errors import CourseError

KIND_NAMES = {"lora": "LoRA", "lokr": "LoKr", "loha": "LoHa"}
GROWTH = 16
MOST_NUMBERS = 2**26  # Kolors' largest layer has 2**24
_NAME = re.compile(
    r"(?P<layer>.+)\.(?P<part>lora_(?:A|B|mid)\.weight|lora_magnitude_vector"
    r"|lokr_w[12](?:_[ab])?|lokr_t2|hada_w[12]_[ab]|hada_t[12])"
)
_RANK_AXIS = {
    "lora_A.weight": 0,
    "lora_B.weight": 1,
    "lokr_w2_a": 1,
    "lokr_w2_b": 0,
    "hada_w1_a": 1,
    "hada_w1_b": 0,
    "hada_w2_a": 1,
    "hada_w2_b": 0,
}


def split_tensor_name(name: str) -> tuple[str, str]:
    """Split `<layer>.lora_A.weight` into layer and `lora_A.weight`, which is "" for names of no adapter."""
    match = _NAME.fullmatch(name)
    return (match["layer"], match["part"]) if match else (name, "")


def kind_of(names: Collection[str]) -> str:
    """Which of `KINDS` tensors of these names make up."""
    parts = {split_tensor_name(name)[1] for name in names}
    if any(part.startswith("lokr_") for part in parts):
        return "lokr"
    return "loha" if any(part.startswith("hada_") for part in parts) else "lora"


def scaled_part(kind: str) -> str:
    """The part into which a factor can be multiplied: ΔW is then multiplied by it."""
    return {"lora": "lora_B.weight", "lokr": "lokr_w1", "loha": "hada_w1_a"}[kind]


def rank_axis(part: str) -> int | None:
    """The axis of a part whose length is the rank, if any."""
    return _RANK_AXIS.get(part)


def complete_parts(found: set[str], kind: str, use_dora: bool) -> set[str]:
    """The parts that a layer with the parts `found` must have."""
    if kind == "loha":
        return {f"hada_w{i}_{factor}" for i in (1, 2) for factor in "ab"}
    if kind == "lokr":
        return {"lokr_w1"} | ({"lokr_w2"} if "lokr_w2" in found else {"lokr_w2_a", "lokr_w2_b"})
    return {"lora_A.weight", "lora_B.weight"} | ({"lora_magnitude_vector"} if use_dora else set())


def part_shapes(
    layer: nn.Module, kind: str, rank: int, use_dora: bool = False, cut: tuple[int, int, bool] | None = None
) -> dict[str, tuple[int, ...]]:
    """Part -> shape, for a linear or convolution layer, which may be quantized or without weights.

    Args:
        cut: of a LoKr whose W₁ is not of the size that peft chooses (see `lokr_cut`).
    """
    if isinstance(layer, nn.Linear):
        out, inside, kernel = layer.out_features, layer.in_features, ()
    else:
        out, inside, kernel = layer.out_channels, layer.in_channels, tuple(layer.kernel_size)
    if kind == "loha":
        return {
            f"hada_w{i}_{factor}": shape
            for i in (1, 2)
            for factor, shape in (("a", (out, rank)), ("b", (rank, inside * prod(kernel))))
        }
    if kind == "lokr":
        (l, k), (m, n) = factorization(out), factorization(inside)
        whole = rank >= max(k, n) / 2
        if cut and not out % cut[0] and not inside % cut[1]:
            l, m, whole = cut
            k, n = out // l, inside // m
        if whole:
            return {"lokr_w1": (l, m), "lokr_w2": (k, n, *kernel)}
        return {"lokr_w1": (l, m), "lokr_w2_a": (k, rank), "lokr_w2_b": (rank, n * prod(kernel))}
    ones = (1,) * len(kernel)
    shapes = {"lora_A.weight": (rank, inside, *kernel), "lora_B.weight": (out, rank, *ones)}
    if use_dora:
        shapes["lora_magnitude_vector"] = (1, out, *ones) if ones else (out,)
    return shapes


def lokr_cut(state: Mapping[str, Tensor], layer: str) -> tuple[int, int, bool] | None:
    """The shape of W₁ of a layer, and whether W₂ is whole; None where the layer is no LoKr.

    Programs cut the same weight in different ways (decompose_factor of peft, factor of LyCORIS), and the product is
    ΔW all the same.
    """
    w1 = state.get(f"{layer}.lokr_w1")
    if w1 is None or w1.ndim != 2:
        return None
    return (*w1.shape, f"{layer}.lokr_w2" in state)


def check_growth(numbers: int, source: int) -> None:
    """Refuse work on a small file that would need memory without end.

    Args:
        numbers: that are about to be made of `source` numbers of a file.

    Raises:
        CourseError: more than `GROWTH` times as many, and more than the largest layer of Kolors has.
    """
    if numbers > max(GROWTH * source, MOST_NUMBERS):
        raise CourseError(
            f"its {source:,} numbers would become {numbers:,}: its ranks and shapes are not those of a LoRA of Kolors"
        )


def weight_change(state: Mapping[str, Tensor], layer: str, kind: str) -> Tensor:
    """ΔW at scale 1 of one layer, in float32, as a matrix (out, in · kernel).

    Args:
        state: `<layer>.<part>` -> tensor.
    """

    def part(name: str) -> Tensor:
        return state[f"{layer}.{name}"].float()

    if kind == "loha":
        check_growth(len(part("hada_w1_a")) * part("hada_w1_b").shape[1], 0)
        return (part("hada_w1_a") @ part("hada_w1_b")) * (part("hada_w2_a") @ part("hada_w2_b"))
    if kind == "lokr":
        whole = f"{layer}.lokr_w2" in state
        if not whole:
            check_growth(len(part("lokr_w2_a")) * part("lokr_w2_b").shape[1], 0)
        w2 = part("lokr_w2").flatten(1) if whole else part("lokr_w2_a") @ part("lokr_w2_b")
        w1 = part("lokr_w1")
        check_growth(w1.numel() * w2.numel(), 0)
        return torch.einsum("lm,kn->lkmn", w1, w2).reshape(len(w1) * len(w2), -1)  # W₁ ⊗ W₂
    return part("lora_B.weight").flatten(1) @ part("lora_A.weight").flatten(1)
