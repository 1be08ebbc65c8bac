"""The model that a LoRA is trained on: in which type its frozen weights are kept, and none of them in memory yet."""

from pathlib import Path

import torch

from kolors_course.kolors.layouts import ModelPaths
from kolors_course.kolors.model import KolorsModel, load_model
from kolors_course.kolors.profiles import Profile
from kolors_course.kolors.skeleton import full_kolors
from kolors_course.training.distributed import needs_one_dtype
from kolors_course.training.recipe import mixed_precision


def frozen_dtype(own: torch.dtype, precision: str, device: torch.device) -> torch.dtype:
    """The type of the frozen weights: half precision only under autocast, and float16 under that of float16.

    Args:
        own: the type of the model's profile.
        precision: one of `choices.PRECISIONS`.
    """
    mixed = mixed_precision(precision, device)
    if mixed == "no" or own == torch.float32 or needs_one_dtype():
        return torch.float32
    return torch.float16 if mixed == "fp16" else own


def load_for_training(
    profile: Profile,
    device: torch.device,
    precision: str,
    paths: str | Path | ModelPaths | None = None,
    quantize: str | None = None,
) -> KolorsModel:
    """A model whose networks are fetched when their turn comes.

    Args:
        precision: of the training run, one of `choices.PRECISIONS`.
        paths: where the model is; None for the folder of `profile`.

    Raises:
        CourseError: see `load_model` and `Profile.present_folder`.
    """
    dtype = frozen_dtype(profile.dtype, precision, device)
    # Kolors' own VAE overflows in float16.
    vae_dtype = torch.float32 if dtype == torch.float16 else None
    variant = profile.variant if paths is None else None
    paths = profile.present_folder() if paths is None else paths
    return load_model(paths, device, dtype, variant, vae_dtype=vae_dtype, quantize=quantize, phased=True)


def load_for_plan(
    profile: Profile,
    device: torch.device,
    precision: str,
    paths: str | Path | ModelPaths | None = None,
    quantize: str | None = None,
) -> KolorsModel:
    """The same model for `plan_training`; full Kolors need not be on this machine, its shapes are known.

    Raises:
        CourseError: see `load_for_training`.
    """
    if profile.name == "kolors" and paths is None and not profile.folder.is_dir():
        return full_kolors(frozen_dtype(profile.dtype, precision, device))
    return load_for_training(profile, device, precision, paths, quantize)
