"""Where the nodes find models and LoRAs: in ComfyUI's model folders, and where the course keeps its own."""

from pathlib import Path

import folder_paths
import torch
from comfy.model_management import get_torch_device

from kolors_course.comfyui.files import look_up, lora_files, model_folders, text_encoder_folders
from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel, ModelPaths, current_profile, load_model
from kolors_course.platform.choices import PROFILES
from kolors_course.platform.paths import REPOSITORY, data_dir

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def models() -> dict[str, Path]:
    """Name -> folder: the profiles, and what lies in models/diffusers."""
    names = PROFILES if course_data() else PROFILES[1:]
    profiles = {name: REPOSITORY / current_profile(name).folder for name in names}
    return {**profiles, **model_folders(folder_paths.get_folder_paths("diffusers"))}


def loras() -> dict[str, Path]:
    """Name -> file: the course's own, what was trained in this checkout, and what lies in models/loras."""
    data = course_data()
    own = lora_files(data / "loras", REPOSITORY / "outputs") if data else {}
    return {**own, **files_of("loras")}


def course_data() -> Path | None:
    """The course's data/, where the library was not installed without it."""
    try:
        return data_dir()
    except CourseError:
        return None


def text_encoders() -> dict[str, Path]:
    """Name -> folder of a ChatGLM in models/text_encoders or models/LLM."""
    roots = [*folder_paths.get_folder_paths("text_encoders"), Path(folder_paths.models_dir) / "LLM"]
    return text_encoder_folders(roots)


def files_of(kind: str) -> dict[str, Path]:
    """Name -> file in the model folder that ComfyUI calls `kind`."""
    names = folder_paths.get_filename_list(kind)
    return {name: Path(folder_paths.get_full_path(kind, name)) for name in names}


def find_model(name: str) -> Path:
    """The folder of a model by its name in a node.

    Raises:
        CourseError: there is none of that name.
    """
    return look_up(name, models(), "model", "ComfyUI/models/diffusers")


def find_lora(name: str) -> Path:
    """The file of a LoRA by its name in a node.

    Raises:
        CourseError: there is none of that name.
    """
    return look_up(name, loras(), "LoRA", "ComfyUI/models/loras")


def load(paths: Path | ModelPaths, precision: str, profile: str | None = None) -> KolorsModel:
    """Load onto ComfyUI's device; "auto" is the type of the profile, else bfloat16 but on a CPU.

    Raises:
        CourseError: see `load_model`.
    """
    device = get_torch_device()
    if precision != "auto":
        dtype = getattr(torch, precision)
    elif profile:
        dtype = current_profile(profile).dtype
    else:
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    return load_model(paths, device, dtype, None if dtype == torch.float32 else "fp16")


def newest(path: Path) -> int:
    """When a file, or the newest in a folder, was last changed; 0 where there is none.

    It is part of what ComfyUI caches a node's output by, so a file that was written again is read again.
    """
    files = path.rglob("*") if path.is_dir() else [path]
    return max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)
