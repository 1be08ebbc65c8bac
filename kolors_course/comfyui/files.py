"""Names of models below ComfyUI's model folders, and the way back from a name to a path.

Names come from workflows, which come from anywhere: only a name that was listed leads to a path.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from kolors_course.errors import CourseError, brief

NAMED = 20  # files in one message
DEPTH = ("*", "*/*")  # of a model folder below the folders that are searched


def model_folders(roots: Iterable[str | Path]) -> dict[str, Path]:
    """Models in diffusers layout, old or new: name -> folder. The first root that has a name wins."""
    return _listed(roots, "unet/config.json")


def text_encoder_folders(roots: Iterable[str | Path]) -> dict[str, Path]:
    """Folders of a ChatGLM, with the tokenizer in it or beside it: name -> folder."""
    found = _listed(roots, "config.json")
    homes = {name: (folder, folder.parent / "tokenizer") for name, folder in found.items()}
    return {
        name: found[name]
        for name, places in homes.items()
        if any((place / "tokenizer.model").is_file() for place in places)
    }


def lora_files(shipped: Path, outputs: Path) -> dict[str, Path]:
    """LoRAs that come with the course, by their file names, and those that were trained, as outputs/…"""
    trained = {
        f"outputs/{path.relative_to(outputs).as_posix()}": path
        for depth in DEPTH
        for path in sorted(outputs.glob(f"{depth}/lora.safetensors"))
    }
    return {path.name: path for path in sorted(shipped.glob("*.safetensors"))} | trained


def look_up(name: str, listed: Mapping[str, Path], what: str, folder: str) -> Path:
    """The path of a listed name.

    Raises:
        CourseError: `name` is not one of them; the message says where to put it.
    """
    if name not in listed:
        known = ", ".join(sorted(listed)[:NAMED]) or "none"
        more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
        raise CourseError(
            f"there is no {what} '{brief(name)}' (there are: {known}{more}); put it into {folder}, press R in the "
            "browser and choose it"
        )
    return listed[name]


def _listed(roots: Iterable[str | Path], marker: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in map(Path, roots):
        for depth in DEPTH:
            for path in sorted(root.glob(f"{depth}/{marker}")):
                folder = path.parents[len(Path(marker).parts) - 1]
                found.setdefault(folder.relative_to(root).as_posix(), folder)
    return found
