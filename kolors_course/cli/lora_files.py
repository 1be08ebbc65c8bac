"""What the commands on LoRA files share: finding the U-Net that a file belongs to."""

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from kolors_course.kolors import current_profile
from kolors_course.kolors.skeleton import kolors_mini_skeleton, kolors_skeleton, unet_skeleton
from kolors_course.lora import LoraFile, check_fit
from kolors_course.lora.adapter import MisfitError
from kolors_course.lora.origin import is_foreign
from kolors_course.lora.reading import open_lora, settle_alpha


def skeletons(model: str | None) -> Iterator[nn.Module]:
    """The U-Nets, without weights, that a file may belong to: of `model`, or of the profile and of full Kolors.

    Neither Kolors-mini nor full Kolors has to be here.
    """
    if model:
        yield unet_skeleton(model)
        return
    profile = current_profile()
    if profile.folder.is_dir():
        yield unet_skeleton(profile.folder)
    elif profile.name == "mini":
        yield kolors_mini_skeleton()
    yield kolors_skeleton()


def read_fitting(
    path: str | Path, model: str | None, alpha: float | None = None
) -> tuple[LoraFile, nn.Module]:
    """A LoRA file and the U-Net, without weights, that has exactly its layers and shapes.

    Raises:
        CourseError: see `read_lora` and `check_fit`; of several U-Nets that do not fit, about the first.
    """

    misfits: list[MisfitError] = []
    for unet in skeletons(model):
        try:
            opened = open_lora(path, unet)
            # Names and shapes tell the U-Net; an alpha that is not known yet has no part in it.
            check_fit(unet, settle_alpha(opened, 1.0 if opened.alpha is None else None))
        except MisfitError as error:
            misfits.append(error)
        else:
            return settle_alpha(opened, alpha), unet
    raise misfits[0]


def warn_of_family(lora: LoraFile) -> None:
    """Say it where a file tells that it was made for other models than Kolors."""
    if is_foreign(lora.made_for):
        print(
            f"note: {lora.path.name} says that it was made for {lora.made_for}: its layers fit, but they learned "
            "from another text encoder, so expect no good pictures of Kolors"
        )
