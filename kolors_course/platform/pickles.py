"""Reading what torch.save wrote, without running any code that such a file can carry: the same on every torch."""

import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import torch

# What `load_pickle` raises on damaged pickles.
DAMAGED = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, MemoryError, OverflowError),
    *(LookupError, AssertionError, TypeError, AttributeError, zipfile.BadZipFile, NotImplementedError),
)


def load_pickle(path: Path, mmap: bool = False) -> Any:
    """The tensors and plain values in a file of `torch.save`; with `mmap` they stay in the file until they are used.

    Torch's oldest format, a .tar, is refused: torch before 2.6 runs code from it in spite of `weights_only`
    (CVE-2025-32434).

    Raises:
        pickle.UnpicklingError: the file holds anything else, or is a .tar; of damaged files torch raises others
            too, all in `DAMAGED`.
    """
    if tarfile.is_tarfile(path):
        raise pickle.UnpicklingError("torch's old .tar format is not read")
    if mmap and zipfile.is_zipfile(path):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    with path.open("rb") as file:  # by a path, torch would go by the ending of its name
        return torch.load(file, map_location="cpu", weights_only=True)
