"""Encoded pictures and captions on disk, each under a hash of what it was computed from."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path

_SAMPLED = 64  # values of each tensor that go into a model's fingerprint


class Store:
    """A folder of tensors, one safetensors file for each key.

    An entry never goes stale, because its key holds everything it depends on: a changed caption, picture, crop
    or model has another key. The folder may be shared by several runs and deleted at any time.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def get_or_make(self, key: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors under `key`, on the CPU; computed by `make` and kept when they are missing or damaged.

        Raises:
            CourseError: they cannot be written.
        """
        path = self.folder / f"{key}.safetensors"
        try:
            return load_file(path)
        except (OSError, SafetensorError):
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        with atomic_path(path) as temporary:
            try:
                save_file(tensors, temporary)
            except (OSError, SafetensorError) as error:
                raise CourseError(
                    f"cannot write {path}: {error}; free some disk space or choose another cache folder"
                ) from error
        return tensors


def content_key(*parts: str | int | float | bytes | Tensor) -> str:
    """SHA-256 (64 hex digits) of texts, numbers, bytes and tensors, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
            digest.update(part.contiguous().cpu().view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def fingerprint(module: nn.Module) -> str:
    """A hash of a model: names, shapes and types of its tensors and a sample of their values.

    Sampling makes it cheap for billions of weights; training of any kind changes nearly all of them.
    """
    digest = hashlib.sha256(type(module).__name__.encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        step = max(1, tensor.numel() // _SAMPLED)
        # To the CPU first: the GPUs of Macs have no double precision.
        digest.update(tensor.flatten()[::step].cpu().double().numpy().tobytes())
    return digest.hexdigest()
