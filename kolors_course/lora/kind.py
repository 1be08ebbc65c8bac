"""What a kind of adapter is: all that the rest of the library asks of one. `lora.kinds` has them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from peft import PeftConfig
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]  # by part


@dataclass(frozen=True)
class LayerSize:
    """The weight of a layer: (out, inside) of a linear one, (out, inside, *kernel) of a convolution."""

    out: int
    inside: int
    kernel: tuple[int, ...] = ()

    @property
    def columns(self) -> int:
        """The width of the weight as a matrix (out, inside · kernel)."""
        return self.inside * prod(self.kernel)


@dataclass(frozen=True)
class Core:
    """A factor that other programs write besides, and that we multiply into those beside it.

    Attributes:
        others: the parts it is multiplied with.
        expand: takes the core and the others, in float32, and gives the parts that are to stand for all of them.
    """

    others: tuple[str, ...]
    expand: Callable[..., dict[str, Tensor]]


class Kind(ABC):
    """A way to write a small change ΔW of a layer's weight W: the layer then has the weight W + s · ΔW.

    A layer has one tensor for each of some *parts*, which are called as peft calls them; in a file its name is
    `<layer>.<part>`.

    Attributes:
        name: as the command line and the settings have it.
        label: as people write it.
        parts: every part that a layer may have.
        rank_axes: part -> the axis whose length is the rank; a part without one is not in it.
        scaled: the part into which a factor can be multiplied: ΔW is then multiplied by it.
        vectors: the parts that are no matrices.
        cores: part -> how it is multiplied into the others; not among `parts`.
        peft: what peft is asked for to train it and to put it on a model; None where peft does not have it, and files
            of it can only be merged into the weights.
        peft_names: field of `LoraSettings` -> what that `peft` calls it; what is not in it the kind does not have.
        is_pair: whether ΔW is B A and no more, so that two of them add up to a third of a higher rank.
        has_free_shapes: whether programs cut the same ΔW in ways of their own; what a file has is then right.
    """

    name: str
    label: str
    parts: tuple[str, ...]
    rank_axes: ClassVar[Mapping[str, int]] = {}
    scaled: str
    vectors: tuple[str, ...] = ()
    cores: ClassVar[Mapping[str, Core]] = {}
    peft: type[PeftConfig] | None = None
    peft_names: ClassVar[Mapping[str, str]] = {"alpha": "alpha"}
    is_pair: bool = False
    has_free_shapes: bool = False

    @abstractmethod
    def change(self, parts: Mapping[str, Tensor]) -> Tensor:
        """ΔW of one layer in float32, as a matrix (out, inside · kernel).

        Raises:
            CourseError: it would be larger than any layer of Kolors.
        """

    @abstractmethod
    def shapes(self, size: LayerSize, rank: int, use_dora: bool, found: Shapes) -> Shapes:
        """The shapes of the parts of a layer of this size.

        Args:
            found: those in a file, which count for a kind that `has_free_shapes`.
        """

    def squared_norm(self, parts: Mapping[str, Tensor]) -> float:
        """‖ΔW‖² (Frobenius) of one layer."""
        return self.change(parts).double().square().sum().item()

    def needed(self, found: Collection[str], use_dora: bool) -> set[str]:
        """The parts that a layer with the parts `found` must have, and no others."""
        return set(self.parts)

    def of_layer(self, state: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
        """The parts of one layer among those of all layers."""
        names = {part: f"{layer}.{part}" for part in self.parts}
        return {part: state[name] for part, name in names.items() if name in state}

    @property
    def known_parts(self) -> tuple[str, ...]:
        """Every part that a file may have: also what is multiplied into others as it is read."""
        others = (other for core in self.cores.values() for other in core.others)
        return tuple(dict.fromkeys((*self.parts, *self.cores, *others)))


def matrices(parts: Mapping[str, Tensor], *names: str) -> list[Tensor]:
    """Some parts of a layer as matrices in float32: the kernel of a convolution lies within the rows."""
    return [parts[name].flatten(1).float() for name in names]
