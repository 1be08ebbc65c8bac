"""A LoRA file that a training run starts from."""

from pathlib import Path

from diffusers import UNet2DConditionModel
from torch import Tensor

from kolors_course.errors import CourseError
from kolors_course.lora import join_parts, read_lora
from kolors_course.lora.adapter import target_layers
from kolors_course.lora.kinds import split_tensor_name
from kolors_course.training.recipe import LoraTraining


def read_pretrained(path: str | Path, recipe: LoraTraining, unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The tensors of a LoRA that a training run by `recipe` can start from.

    Raises:
        CourseError: see `read_lora`; or it has other settings or other layers than the recipe.
    """
    settings = recipe.settings
    lora = read_lora(path, unet=unet)
    labels = {"scale": "scale (alpha/rank)"}
    for name in ("adapter", "rank", "scale", "use_dora"):
        found, wanted = getattr(lora.settings, name), getattr(settings, name)
        if found != wanted:
            raise CourseError(
                f"{path} has {labels.get(name, name)} {found}, but this training run {wanted}; use the settings it "
                "was made with"
            )
    if bool(lora.text_encoder) != recipe.text_encoder_lora:
        has, wants = ("a", "none") if lora.text_encoder else ("no", "one")
        raise CourseError(f"{path} has {has} part for the text encoder, but this training run wants {wants}")
    found, wanted = (
        {split_tensor_name(name)[0] for name in lora.state_dict},
        target_layers(unet, settings.target_modules),
    )
    if found != wanted.keys():
        raise CourseError(
            f"{path} adapts {len(found)} layers, but this training run {len(wanted)}, and not the same; use the "
            f"target modules it was made with: {', '.join(lora.settings.target_modules)}"
        )
    return join_parts(lora.state_dict, lora.text_encoder)
