"""Is a downloaded Kolors complete? Looked at from outside: names and sizes of files, without reading any weights."""

import json
import re
import struct
from pathlib import Path

MODELSCOPE_ID = "Kwai-Kolors/Kolors-diffusers"
# How diffusers and transformers call files of weights, whole or split.
WEIGHT_FILE = re.compile(
    r"(diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>\w+))?(-\d+-of-\d+)?\.(safetensors|bin)"
)
NETWORKS = ("unet", "vae", "text_encoder")
UNFINISHED = (
    "*.incomplete",
    "*.part",
    "._____temp/**/*",
)  # what the hubs' downloaders leave when they are cut off
HEADER_BYTES = 100_000_000  # more than any safetensors header


def download_command(folder: Path) -> str:
    """What to run to download full Kolors into `folder`, or what is missing of it."""
    return f"modelscope download --model {MODELSCOPE_ID} --local_dir {folder.as_posix()}"


def faults(folder: Path) -> list[str]:
    """What a model folder in diffusers layout lacks to be loaded, one line each; empty if it is complete.

    Files that are cut short are found by the size that their own header states, and missing parts of split weights by
    the list beside them.
    """
    found = [f"no folder {part}/" for part in (*NETWORKS, "scheduler") if not (folder / part).is_dir()]
    if not any((folder / place / "tokenizer.model").is_file() for place in ("tokenizer", "text_encoder")):
        found.append("no tokenizer/tokenizer.model")
    if (folder / "scheduler").is_dir() and not (folder / "scheduler" / "scheduler_config.json").is_file():
        found.append("no scheduler/scheduler_config.json")
    for part in NETWORKS:
        if (folder / part).is_dir():
            found += [f"{part}/{fault}" for fault in _network_faults(folder / part)]
    unfinished = sum(1 for pattern in UNFINISHED for _ in folder.rglob(pattern))
    return found + ([f"{unfinished} unfinished downloads"] if unfinished else [])


def _network_faults(folder: Path) -> list[str]:
    weights = {path.name: path for path in folder.iterdir() if WEIGHT_FILE.fullmatch(path.name)}
    found = [] if (folder / "config.json").is_file() else ["config.json is missing"]
    if not weights:
        return [*found, "weights are missing"]
    found += [
        f"{name} is cut short or damaged" for name, path in sorted(weights.items()) if _is_cut_short(path)
    ]
    lists = [path for path in sorted(folder.glob("*.index*.json")) if _variant_is_begun(path, weights)]
    missing = {name for path in lists for name in _listed(path)} - weights.keys()
    return found + [f"{name} is missing" for name in sorted(missing)]


def _is_cut_short(path: Path) -> bool:
    """Whether a safetensors file ends before its last tensor. (.bin files do not say how long they are.)"""
    if path.suffix != ".safetensors":
        return path.stat().st_size == 0
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, HEADER_BYTES):
                return True
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + length + max(ends, default=0) != size
    except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return True


def _listed(path: Path) -> set[str]:
    """The files that the list of split weights names; none if it cannot be read, which loading then tells."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        return {name for name in names if isinstance(name, str)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return set()


def _variant_is_begun(path: Path, weights: dict[str, Path]) -> bool:
    """Whether any file of a list is there: of fp16 and full weights usually one kind is downloaded."""
    return bool(_listed(path) & weights.keys())
