"""The whole recipe of Kolors-mini: which pictures, and how VAE, probe and base model are trained on them."""

from dataclasses import dataclass

import torch

from kolors_course.art import BASE_MODEL_STYLES, STYLES
from kolors_course.mini.base import BaseConfig
from kolors_course.mini.pictures import PictureSpec
from kolors_course.mini.probe import ProbeConfig
from kolors_course.mini.vae import VaeConfig

# The base model learns four styles by name: they are drawn twice as often as those it never sees.
PICTURES = PictureSpec(seed=10, styled_share=0.55, styles=(*BASE_MODEL_STYLES, *STYLES[1:]))
JUDGED = PictureSpec(seed=100, styled_share=0.6, lora_subjects="all")


@dataclass(frozen=True)
class MiniRecipe:
    """VAE and base model share `pictures`; the judge has its own, `judged`, in which LoRA styles show everything.

    `decoder` is how the decoder alone is sharpened afterwards.
    """

    vae: VaeConfig
    decoder: VaeConfig
    probe: ProbeConfig
    base: BaseConfig
    pictures: PictureSpec = PICTURES
    judged: PictureSpec = JUDGED


RECIPES = {
    # Some hours on two cores.
    "cpu": MiniRecipe(
        VaeConfig(), VaeConfig(steps=1500, learning_rate=1e-3, seed=1), ProbeConfig(), BaseConfig()
    ),
    # Ten minutes on an H100; what made the committed weights.
    "gpu": MiniRecipe(
        VaeConfig(steps=1555, batch_size=128, pictures=30000, checkpoint_every=1000),
        VaeConfig(
            steps=600, batch_size=128, learning_rate=1e-3, pictures=20000, seed=1, checkpoint_every=300
        ),
        ProbeConfig(steps=8000, batch_size=128, pictures=30000, checkpoint_every=2000),
        BaseConfig(
            steps=3676,
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
