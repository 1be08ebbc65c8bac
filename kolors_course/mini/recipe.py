"""The whole recipe of Kolors-mini: which pictures, and how VAE, probe and base model are trained on them."""

from dataclasses import dataclass, replace

import torch

from kolors_course.art import BASE_MODEL_STYLES, STYLES
from kolors_course.mini.base import BaseConfig
from kolors_course.mini.pictures import PictureSpec
from kolors_course.mini.probe import ProbeConfig
from kolors_course.mini.vae import VaeConfig

# The base model learns four styles by name: they are drawn twice as often as those it never sees.
PICTURES = PictureSpec(seed=10, styled_share=0.55, styles=(*BASE_MODEL_STYLES, *STYLES[1:]))
# Mean PSNR is what counts here, of the world and of every foreign kind alike.
FOREIGN = VaeConfig(
    mse_weight=0.0,
    l1_weight=0.0,
    kl_weight=1e-5,
    log_weight=0.02,
    foreign_share=0.45,
    anchor_weight=5.0,
    seed=3,
)
JUDGED = PictureSpec(seed=100, styled_share=0.6, lora_subjects="all")


@dataclass(frozen=True)
class MiniRecipe:
    """VAE and base model share `pictures`; the judge has its own, `judged`, in which LoRA styles show everything.

    `decoder` is how the decoder alone is sharpened afterwards, `foreign` how the VAE learns other people's pictures.
    """

    vae: VaeConfig
    decoder: VaeConfig
    foreign: VaeConfig
    probe: ProbeConfig
    base: BaseConfig
    pictures: PictureSpec = PICTURES
    judged: PictureSpec = JUDGED


RECIPES = {
    # Some hours on two cores.
    "cpu": MiniRecipe(
        VaeConfig(),
        VaeConfig(steps=1500, learning_rate=1e-3, seed=1),
        replace(FOREIGN, steps=10000, batch_size=12, learning_rate=3e-4),
        ProbeConfig(),
        BaseConfig(),
    ),
    # Ten minutes on an H100; what made the committed weights.
    "gpu": MiniRecipe(
        VaeConfig(steps=1555, batch_size=128, pictures=30000, checkpoint_every=1000),
        VaeConfig(
            steps=600, batch_size=128, learning_rate=1e-3, pictures=20000, seed=1, checkpoint_every=300
        ),
        replace(
            FOREIGN, steps=3000, batch_size=128, learning_rate=1e-3, pictures=30000, checkpoint_every=300
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
