"""The whole recipe of Kolors-mini: which pictures, and how VAE, probe and base model are trained on them."""

from dataclasses import dataclass, field

import torch

from kolors_course.art import BASE_MODEL_STYLES, STYLES
from kolors_course.training.base import BaseConfig
from kolors_course.training.pictures import PictureSpec
from kolors_course.training.probe import ProbeConfig
from kolors_course.training.vae import VaeConfig

# The base model learns four styles by name: they are drawn twice as often as those it never sees.
PICTURES = PictureSpec(seed=10, styled_share=0.55, styles=(*BASE_MODEL_STYLES, *STYLES[1:]))
JUDGED = PictureSpec(seed=100, styled_share=0.6, lora_subjects="all")


@dataclass(frozen=True)
class MiniRecipe:
    """VAE and base model share `pictures`; the judge has its own, `judged`, in which LoRA styles show everything."""

    pictures: PictureSpec = PICTURES
    judged: PictureSpec = JUDGED
    vae: VaeConfig = field(default_factory=VaeConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    base: BaseConfig = field(default_factory=BaseConfig)


RECIPES = {
    # Some hours on two cores.
    "cpu": MiniRecipe(),
    # About ten minutes on an H100 with sixteen cores, which draw the scenes.
    "gpu": MiniRecipe(
        vae=VaeConfig(steps=9000, batch_size=128, pictures=30000, checkpoint_every=1000),
        probe=ProbeConfig(steps=12000, batch_size=128, pictures=30000, checkpoint_every=2000),
        base=BaseConfig(
            steps=18000,
            batch_size=512,
            warmup=500,
            pictures=100000,
            styled_share=0.5,
            checkpoint_every=3000,
            sample_every=3000,
        ),
    ),
}


def default_recipe(device: torch.device) -> str:
    """The name of the recipe that fits `device`."""
    return "gpu" if device.type == "cuda" else "cpu"
