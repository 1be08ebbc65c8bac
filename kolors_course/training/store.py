"""Encoded pictures and captions on disk, each under a hash of what it was computed from."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path


class Store:
    """A folder of tensors, one safetensors file for each key.

    An entry never goes stale, because its key holds everything it depends on: a changed caption, picture, crop
    or model has another key. The folder may be shared by several runs and deleted at any time.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def get_or_make(self, key: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors under `key`, on the CPU; computed by `make` and kept where they are missing or were changed.

        Raises:
            CourseError: they cannot be written.
        """
        path = self.folder / f"{key}.safetensors"
        if (kept := _read(path, key)) is not None:
            return kept
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        try:
            with atomic_path(path) as temporary:
                save_file(tensors, temporary, metadata={SEAL: _seal(key, tensors)})
        except (OSError, SafetensorError) as error:
            raise CourseError(
                f"cannot write {path}: {error}; free some disk space or choose another cache folder"
            ) from error
        return tensors


SEAL = "sealed"


def _read(path: Path, key: str) -> dict[str, Tensor] | None:
    """What was kept under `key`; None where it is missing, damaged, of another key or changed."""
    try:
        with safe_open(path, framework="pt") as file:
            seal = (file.metadata() or {}).get(SEAL)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if seal else {}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    return tensors if seal and seal == _seal(key, tensors) else None


def _seal(key: str, tensors: Mapping[str, Tensor]) -> str:
    """A hash of an entry with its key."""
    return content_key(key, *(part for name in sorted(tensors) for part in (name, tensors[name])))


def content_key(*parts: str | int | float | bytes | Tensor) -> str:
    """SHA-256 (64 hex digits) of texts, numbers, bytes and tensors, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(part.contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()
