"""Getting the tensors out of a file that may hold a LoRA: safetensors, or a pickle of torch."""

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora.layouts import recognise
from kolors_course.platform.pickles import load_pickle

PICKLES = (".ckpt", ".pt", ".pth", ".bin")
# What torch.load raises on damaged pickles.
_DAMAGED = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError),
    *(LookupError, AssertionError, TypeError, AttributeError),
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file with a LoRA in one of the `LAYOUTS`, and its metadata, which a pickle does not have.

    Raises:
        CourseError: the file is cut short, of another kind, or holds anything besides a LoRA.
    """
    _refuse_lfs_pointer(path)
    return _read_pickle(path) if path.suffix.lower() in PICKLES else _read_safetensors(path)


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Begin the message of any error inside with the name of the file."""
    try:
        yield
    except CourseError as error:
        raise type(error)(f"{path}: {error}") from error


def _refuse_lfs_pointer(path: Path) -> None:
    """What `git clone` without Git LFS leaves in place of large files: a few lines of text."""
    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError as error:
        raise CourseError(f"cannot read {path}: {error.strerror or error}; mend its permissions") from error
    if is_pointer:
        raise CourseError(
            f"{path} is a pointer of Git LFS and not the file itself; run git lfs pull, or download it again"
        )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            # Seen before the tensors are read: a whole model by mistake would be gigabytes.
            with about(path):
                recognise(names)
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CourseError(
            f"{path} is cut short or not a safetensors file ({error}); copy or download it again"
        ) from error


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a torch checkpoint, without running any code that a pickle can carry."""
    try:
        content = load_pickle(path)
    except _DAMAGED as error:
        # "Unsupported class" is what torch before 2.4 says. Of damaged files it says "Unsupported operand".
        if re.search("unsupported (global|class)", str(error), re.IGNORECASE):
            raise CourseError(
                f"{path} holds Python objects or code besides tensors, which could do anything on this machine; "
                "it is not read: ask for a safetensors file"
            ) from error
        raise CourseError(
            f"{path} is cut short or not a torch checkpoint; copy or download it again"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CourseError(f"{path} is not a table of tensors; it may be a whole training state, not a LoRA")
    with about(path):
        recognise(map(str, content))
    return {str(name): tensor for name, tensor in content.items()}, {}
