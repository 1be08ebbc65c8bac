"""The kinds of adapter: which tensors each has, and the ΔW that they make of a layer's weight W + s · ΔW.

* LoRA: ΔW = B A
* LoKr: ΔW = W₁ ⊗ W₂
* LoHa: ΔW = (A₁ B₁) ⊙ (A₂ B₂)

s is alpha/r. Names and factorisation are those of peft, which trains them.

A new kind is a class here, its line in `KINDS`, and its name in `lora.choices`; `lora.programs` says which other
programs read it.
"""

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import ClassVar

import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig
from peft.tuners.lokr.layer import factorization
from torch import Tensor, nn

from kolors_course.lora.growth import check_growth, product
from kolors_course.lora.kind import Core, Kind, LayerSize, Shapes, matrices
from kolors_course.lora.svd import squared_norm

DOWN, UP = "lora_A.weight", "lora_B.weight"  # of a LoRA
MAGNITUDE = "lora_magnitude_vector"  # of a DoRA


def _tucker_kohya(core: Tensor, down: Tensor, up: Tensor) -> dict[str, Tensor]:
    """core (r, r, h, w), down (r, in, 1, 1), up (out, r, 1, 1)."""
    return {DOWN: torch.einsum("ijhw,jc->ichw", core, down.flatten(1)), UP: up}


def _tucker_lycoris(first: str, second: str) -> Core:
    def expand(core: Tensor, one: Tensor, two: Tensor) -> dict[str, Tensor]:
        """core (r, r, h, w), one (r, out), two (r, in)."""
        return {
            first: one.T.contiguous(),
            second: torch.einsum("ijhw,jc->ichw", core, two).flatten(1),
        }

    return Core((first, second), expand)


class LoRA(Kind):
    """ΔW = B A, the product of two thin matrices (arXiv 2106.09685, equation 3).

    A is (r, in), B is (out, r). rsLoRA has the scale alpha/√r (arXiv 2312.03732). DoRA learns the length of each row
    of the new weight besides (arXiv 2402.09353, equation 5; see `maths.dora_weight`).
    """

    name, label = "lora", "LoRA"
    parts = (DOWN, UP, MAGNITUDE)
    rank_axes: ClassVar = {DOWN: 0, UP: 1}
    scaled = UP
    vectors = (MAGNITUDE,)
    cores: ClassVar = {"lora_mid.weight": Core((DOWN, UP), _tucker_kohya)}
    peft = LoraConfig
    peft_names: ClassVar = {
        "alpha": "lora_alpha",
        "use_rslora": "use_rslora",
        "use_dora": "use_dora",
        "init": "init_lora_weights",
    }
    is_pair = True

    def change(self, parts: Mapping[str, Tensor]) -> Tensor:
        A, B = matrices(parts, DOWN, UP)
        return product(B, A)

    def squared_norm(self, parts: Mapping[str, Tensor]) -> float:
        return squared_norm(parts[DOWN], parts[UP])  # without multiplying out the product

    def shapes(self, size: LayerSize, rank: int, use_dora: bool, found: Shapes) -> Shapes:
        ones = (1,) * len(size.kernel)
        shapes: Shapes = {DOWN: (rank, size.inside, *size.kernel), UP: (size.out, rank, *ones)}
        return shapes | ({MAGNITUDE: (1, size.out, *ones) if ones else (size.out,)} if use_dora else {})

    def needed(self, found: Collection[str], use_dora: bool) -> set[str]:
        return {DOWN, UP} | ({MAGNITUDE} if use_dora else set())


class LoKr(Kind):
    """ΔW = W₁ ⊗ W₂, a Kronecker product of two small matrices (LyCORIS, arXiv 2309.14859, section 3).

    W₁ is (l, m), W₂ is (k, n) with l · k = out and m · n = in; it is cut into two factors (k, r) (r, n) where that
    saves numbers. Programs choose l and m differently (decompose_factor of peft, factor of LyCORIS), and the product
    is ΔW all the same.
    """

    name, label = "lokr", "LoKr"
    parts = ("lokr_w1", "lokr_w2", "lokr_w2_a", "lokr_w2_b")
    rank_axes: ClassVar = {"lokr_w2_a": 1, "lokr_w2_b": 0}
    scaled = "lokr_w1"
    cores: ClassVar = {
        "lokr_t2": _tucker_lycoris("lokr_w2_a", "lokr_w2_b"),
        "lokr_w1_a": Core(("lokr_w1_b",), lambda one, two: {"lokr_w1": one @ two}),  # decompose_both
    }
    peft = LoKrConfig
    has_free_shapes = True

    def change(self, parts: Mapping[str, Tensor]) -> Tensor:
        (w1,) = matrices(parts, "lokr_w1")
        if "lokr_w2" in parts:
            (w2,) = matrices(parts, "lokr_w2")
        else:
            w2 = product(*matrices(parts, "lokr_w2_a", "lokr_w2_b"))
        check_growth(w1.numel() * w2.numel(), 0)
        return torch.kron(w1, w2)

    def shapes(self, size: LayerSize, rank: int, use_dora: bool, found: Shapes) -> Shapes:
        (l, k), (m, n) = factorization(size.out), factorization(size.inside)
        whole = rank >= max(k, n) / 2
        w1 = found.get("lokr_w1", ())
        if len(w1) == 2 and not size.out % w1[0] and not size.inside % w1[1]:
            (l, m), whole = w1, "lokr_w2" in found
            k, n = size.out // l, size.inside // m
        if whole:
            return {"lokr_w1": (l, m), "lokr_w2": (k, n, *size.kernel)}
        columns = LayerSize(k, n, size.kernel).columns
        return {"lokr_w1": (l, m), "lokr_w2_a": (k, rank), "lokr_w2_b": (rank, columns)}

    def needed(self, found: Collection[str], use_dora: bool) -> set[str]:
        return {"lokr_w1"} | ({"lokr_w2"} if "lokr_w2" in found else {"lokr_w2_a", "lokr_w2_b"})


class LoHa(Kind):
    """ΔW = (A₁ B₁) ⊙ (A₂ B₂), a product element by element, whose rank may reach r² (arXiv 2108.06098).

    A₁ and A₂ are (out, r), B₁ and B₂ are (r, in).
    """

    name, label = "loha", "LoHa"
    parts = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    rank_axes: ClassVar = {"hada_w1_a": 1, "hada_w1_b": 0, "hada_w2_a": 1, "hada_w2_b": 0}
    scaled = "hada_w1_a"
    cores: ClassVar = {
        "hada_t1": _tucker_lycoris("hada_w1_a", "hada_w1_b"),
        "hada_t2": _tucker_lycoris("hada_w2_a", "hada_w2_b"),
    }
    peft = LoHaConfig

    def change(self, parts: Mapping[str, Tensor]) -> Tensor:
        A1, B1, A2, B2 = matrices(parts, *self.parts)
        return product(A1, B1) * product(A2, B2)

    def shapes(self, size: LayerSize, rank: int, use_dora: bool, found: Shapes) -> Shapes:
        A, B = (size.out, rank), (rank, size.columns)
        return dict(zip(self.parts, (A, B, A, B), strict=True))


LORA = LoRA()
KINDS: dict[str, Kind] = {kind.name: kind for kind in (LORA, LoKr(), LoHa())}


def split_tensor_name(name: str) -> tuple[str, str]:
    """Split `<layer>.lora_A.weight` into layer and `lora_A.weight`, which is "" for names of no adapter."""
    match = _tensor_name(known_parts()).fullmatch(name)
    return (match["layer"], match["part"]) if match else (name, "")


def known_parts() -> tuple[str, ...]:
    """Every part that a file of any kind may have."""
    return tuple(part for kind in KINDS.values() for part in kind.known_parts)


@cache
def _tensor_name(parts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?P<layer>.+)\.(?P<part>{'|'.join(map(re.escape, parts))})")


def kind_of(names: Collection[str]) -> Kind:
    """The kind that tensors of these names make up; LoRA where none of them belongs to any."""
    parts = {split_tensor_name(name)[1] for name in names}
    others = (kind for kind in KINDS.values() if kind is not LORA)
    return next((kind for kind in others if not parts.isdisjoint(kind.known_parts)), LORA)


def part_shapes(
    layer: nn.Linear | nn.Conv2d,
    kind: str,
    rank: int,
    use_dora: bool = False,
    found: Mapping[str, Tensor] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Part -> shape, for a linear or convolution layer, which may be quantized or without weights.

    Args:
        kind: a key of `KINDS`.
        found: the layer's parts in a file; a kind with `has_free_shapes` has their shapes.
    """
    if isinstance(layer, nn.Linear):
        size = LayerSize(layer.out_features, layer.in_features)
    else:
        size = LayerSize(layer.out_channels, layer.in_channels, tuple(layer.kernel_size))
    shapes = {part: tuple(tensor.shape) for part, tensor in (found or {}).items()}
    return KINDS[kind].shapes(size, rank, use_dora, shapes)


def weight_change(state: Mapping[str, Tensor], layer: str, kind: str) -> Tensor:
    """ΔW of one layer, see `Kind.change`.

    Args:
        state: `<layer>.<part>` -> tensor.
        kind: a key of `KINDS`.
    """
    return KINDS[kind].change(KINDS[kind].of_layer(state, layer))
