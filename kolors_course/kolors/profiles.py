"""The one switch: Kolors-mini on any machine, or full Kolors on a GPU, with the same code."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from kolors_course.errors import CourseError
from kolors_course.kolors.model import KolorsModel, load_model
from kolors_course.platform.choices import PROFILES, profile_name
from kolors_course.platform.device import pick_device
from kolors_course.platform.paths import data_dir, data_path, kolors_folder


@dataclass(frozen=True)
class Profile:
    """Where the weights are, in which type they run, and how large and how many the pictures are.

    `learning_rate` and `steps` are what a style LoRA of about fifty pictures needs.
    """

    name: str
    folder: Path
    dtype: torch.dtype
    variant: str | None
    size: int
    batch_size: int
    learning_rate: float
    steps: int

    def present_folder(self) -> Path:
        """`folder`, to load the model from.

        Raises:
            CourseError: it is that of the course's own data, and there is no data/ at all.
        """
        if self.folder.parent == data_path():
            data_dir()
        return self.folder


def current_profile(name: str | None = None) -> Profile:
    """The profile called `name`, or $KOLORS_PROFILE, or "mini". $KOLORS_MODEL overrides the folder.

    Raises:
        CourseError: unknown profile.
    """
    name = name or profile_name()
    chosen = os.environ.get("KOLORS_MODEL")
    if name == "mini":
        folder = Path(chosen or data_path() / "kolors-mini")
        return Profile("mini", folder, torch.float32, None, 128, 8, 1e-3, 300)
    if name == "kolors":
        folder = Path(chosen or kolors_folder())
        return Profile("kolors", folder, torch.bfloat16, "fp16", 1024, 1, 1e-4, 500)
    raise CourseError(f"unknown profile '{name}'; set KOLORS_PROFILE to {' or '.join(PROFILES)}")


def load_profile(profile: Profile | None = None, device: str | None = None) -> KolorsModel:
    """Load the model of a profile onto the best device, or the one named.

    Raises:
        CourseError: see `load_model` and `pick_device`.
    """
    profile = profile or current_profile()
    return load_model(profile.present_folder(), pick_device(device), profile.dtype, profile.variant)
