"""Getting the tensors out of a file that may hold a LoRA, and writing them: safetensors, or a pickle of torch.

What a file is, its first bytes say, and not its name. Nothing in it is believed before it is bounded: no code of a
pickle runs, and no tensor may stand for more numbers than the file has bytes for.
"""

import json
import re
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kolors_course.errors import CourseError, brief
from kolors_course.files import atomic_path, check_whole_name
from kolors_course.lora.layouts import recognise
from kolors_course.lora.origin import telling_origin
from kolors_course.platform.pickles import DAMAGED, load_pickle

PICKLES = (".ckpt", ".pt", ".pth", ".bin")
# What safetensors and torch raise on headers that describe tensors which cannot be.
_UNREADABLE = (
    SafetensorError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_MAX_HEADER = 25 * 2**20  # names, shapes and metadata of the largest LoRAs are below 10 MB
_MAX_RANK_OF_SHAPE = 8  # a convolution's weight has 4 axes


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file with a LoRA in one of the `LAYOUTS`, and its metadata, which a pickle does not have.

    Raises:
        CourseError: the file is cut short, of another kind, or holds anything besides a LoRA.
    """
    read = _read_pickle if _is_pickle(path) else _read_safetensors
    tensors, metadata = read(path)
    with about(path):
        _check_sizes(tensors, path.stat().st_size)
    return tensors, metadata


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """`safetensors.torch.save_file`, with the metadata in the order of its keys: equal LoRAs are equal files.

    safetensors keeps metadata in a hash map, whose order differs from run to run.
    """
    save_file(dict(tensors), path, metadata=dict(metadata))
    with path.open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > length:
            raise SafetensorError("its header cannot be put in order")  # both write JSON in the shortest way
        file.seek(8)
        file.write(text.ljust(length))


def write_metadata(path: Path, change: Callable[[dict[str, str]], Mapping[str, str]]) -> None:
    """Write a safetensors file anew with other metadata; everything else in it stays, bit for bit.

    Args:
        change: the metadata that are there -> those that shall be.

    Raises:
        CourseError: it is no safetensors file, or cannot be read or written.
    """
    _read_safetensors(path)
    with (
        about(path),
        atomic_path(path) as temporary,
        path.open("rb") as source,
        temporary.open("wb") as target,
    ):
        (length,) = struct.unpack("<Q", source.read(8))
        header = json.loads(source.read(length))
        header["__metadata__"] = dict(sorted(change(header.get("__metadata__") or {}).items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # tensors begin at multiples of eight bytes
        target.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(source, target)


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Begin the message of any error inside with the name of the file."""
    try:
        yield
    except CourseError as error:
        raise type(error)(f"{path}: {error}") from error


def _is_pickle(path: Path) -> bool:
    """Whether the content is a pickle of torch; of what is neither, the name decides what the message speaks of."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise CourseError(f"cannot read {path}: {error.strerror or error}; mend its permissions") from error
    if head == _LFS_POINTER:  # what `git clone` without Git LFS leaves in place of large files
        raise CourseError(
            f"{path} is a pointer of Git LFS and not the file itself; run git lfs pull, or download it again"
        )
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < max(size, _MAX_HEADER):
        return False
    return bool(re.match(rb"PK\x03\x04|\x80[\x02-\x05]", head)) or path.suffix.lower() in PICKLES


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    check_whole_name(path)
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) == 8 and _MAX_HEADER < struct.unpack("<Q", start)[0] < path.stat().st_size:
        raise CourseError(f"{path}: its header is larger than that of any LoRA; it is not read")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            # Seen before the tensors are read: a whole model by mistake would be gigabytes.
            metadata = file.metadata() or {}
            with about(path), telling_origin(metadata):
                recognise(names)
            return {name: file.get_tensor(name) for name in names}, metadata
    except (OSError, *_UNREADABLE) as error:
        raise CourseError(
            f"{path} is cut short or not a safetensors file ({_first_line(error)}); copy or download it again"
        ) from error


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a torch checkpoint, without running any code that a pickle can carry."""
    try:
        _check_archive(path)
        with warnings.catch_warnings():  # of tensors that are refused below
            warnings.simplefilter("ignore")
            content = load_pickle(path)
    except (*DAMAGED, RecursionError) as error:
        # "Unsupported class" is what torch before 2.4 says. Of damaged files it says "Unsupported operand".
        if re.search("unsupported (global|class)", str(error), re.IGNORECASE):
            raise CourseError(
                f"{path} holds Python objects or code besides tensors, which could do anything on this machine; "
                "it is not read: ask for a safetensors file"
            ) from error
        raise CourseError(
            f"{path} is cut short or not a torch checkpoint; copy or download it again"
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise CourseError(f"{path} is not a table of tensors; it may be a whole training state, not a LoRA")
    with about(path):
        recognise(content)
    return dict(content), {}


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: torch packs without compressing."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise CourseError(f"{path} is compressed, which no torch checkpoint is; it is not read")


def _check_sizes(tensors: Mapping[str, Tensor], size: int) -> None:
    """Refuse tensors whose numbers are not in the file: expanded, sparse, quantized, without data, or absurd."""
    total = 0
    for name, tensor in tensors.items():
        fault = _fault(tensor)
        total += 0 if fault else tensor.numel() * tensor.element_size()
        if fault or total > size:
            raise CourseError(
                f"'{brief(name, 80)}' {fault or 'stands for more numbers than the file holds'}; it is not a LoRA "
                "that a program saved: ask for a safetensors file"
            )


def _fault(tensor: Tensor) -> str:
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"is a sparse or nested tensor ({str(tensor.layout).removeprefix('torch.')})"
    if tensor.is_quantized or type(tensor) not in (Tensor, torch.nn.Parameter):
        return "is quantized, or no plain tensor"
    if tensor.device.type != "cpu":
        return f"lies on the device {tensor.device.type} and has no numbers"
    if tensor.ndim > _MAX_RANK_OF_SHAPE or (tensor.numel() == 0):
        return "is empty" if tensor.ndim <= _MAX_RANK_OF_SHAPE else f"has {tensor.ndim} axes"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
