"""What every LoRA must be before it is used or written: complete, of its rank, of numbers that are finite."""

from collections.abc import Mapping

import torch
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.adapter import first_few
from kolors_course.lora.kind import Kind
from kolors_course.lora.kinds import kind_of, split_tensor_name


def check_tensors(
    state: Mapping[str, Tensor], kind: Kind, use_dora: bool, ranks: Mapping[str, int | None]
) -> None:
    """Check the tensors of one network.

    Args:
        ranks: by layer; None where it is not known.

    Raises:
        CourseError: there are none, parts of a layer are missing or too many, a shape is not of the rank, or a number
            is not finite.
    """
    if not state:
        raise CourseError("there are no LoRA tensors")
    parts: dict[str, set[str]] = {}
    for name, tensor in state.items():
        layer, part = split_tensor_name(name)
        parts.setdefault(layer, set()).add(part)
        _check_numbers(name, tensor)
        _check_shape(name, tensor, ranks[layer])
    for layer, found in parts.items():
        needed = kind.needed(found, use_dora)
        if found != needed:
            wrong = ", ".join(sorted(found ^ needed))
            raise CourseError(
                f"{first_few([layer])} is incomplete or has too much ({wrong}); save the file again"
            )


def _check_numbers(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CourseError(f"{first_few([name])} holds numbers of the format {kind}, which no LoRA has")
    try:
        finite = bool(torch.isfinite(tensor.float()).all())
    except RuntimeError as error:  # formats of fewer than eight bits
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CourseError(
            f"{first_few([name])} is in {kind}, which torch cannot compute with here"
        ) from error
    if not finite:
        raise CourseError(f"{first_few([name])} holds numbers that are not finite; the training diverged")


def _check_shape(name: str, tensor: Tensor, rank: int | None) -> None:
    kind, part = kind_of([name]), split_tensor_name(name)[1]
    axis = kind.rank_axes.get(part)
    if axis is not None and (tensor.ndim < 2 or rank not in (None, tensor.shape[axis])):
        raise CourseError(
            f"{first_few([name])} has shape {tuple(tensor.shape)}, which is not of rank {rank}; save the file again"
        )
    if axis is None and part not in kind.vectors and tensor.ndim not in (2, 4):
        raise CourseError(f"{first_few([name])} has shape {tuple(tensor.shape)}, which is no matrix")
