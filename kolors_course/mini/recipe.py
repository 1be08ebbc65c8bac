"""The whole recipe of Kolors-mini: which pictures, and how VAE, probe and base model are trained on them."""

from dataclasses import dataclass, field, replace

import torch

from kolors_course.art import BASE_MODEL_STYLES, STYLES
from kolors_course.mini.base import BaseConfig
from kolors_course.mini.control import ControlConfig
from kolors_course.mini.pictures import PictureSpec
from kolors_course.mini.probe import ProbeConfig
from kolors_course.mini.vae import VaeConfig

# The base model learns four styles by name: they are drawn twice as often as those it never sees.
PICTURES = PictureSpec(seed=10, styled_share=0.55, styles=(*BASE_MODEL_STYLES, *STYLES[1:]))
# Mean PSNR is what counts here, of the world and of every foreign kind alike. With this anchor the latents of the
# world move by about 2 % of their spread, and the encoder learns to help foreign pictures; a stronger one hinders it.
FOREIGN = VaeConfig(
    mse_weight=0.0,
    l1_weight=0.0,
    kl_weight=1e-5,
    log_weight=0.02,
    foreign_share=0.45,
    anchor_weight=0.5,
    seed=3,
)
# Twice the room for detail in each cell, and twice the layers. With the U-Net of "gpu2" a picture of 25 guided steps
# takes 1.26 times as long as before (one core; 1.27 without AVX-512), and all weights together are 86 MB.
SHARP_VAE = VaeConfig(
    batch_size=128,
    learning_rate=1e-3,
    log_weight=0.02,
    foreign_share=0.3,
    latent_channels=8,
    layers_per_block=2,
    block_out_channels=(32, 64, 128, 192),
    checkpoint_every=300,
)
JUDGED = PictureSpec(seed=100, styled_share=0.6, lora_subjects="all")


@dataclass(frozen=True)
class MiniRecipe:
    """VAE and base model share `pictures`; the judge has its own, `judged`, in which LoRA styles show everything.

    `decoder` is how the decoder alone is sharpened afterwards, `foreign` how the VAE learns other people's pictures,
    `control` how a ControlNet learns to read hints.
    """

    vae: VaeConfig
    decoder: VaeConfig
    foreign: VaeConfig
    probe: ProbeConfig
    base: BaseConfig
    control: ControlConfig = field(default_factory=ControlConfig)
    pictures: PictureSpec = PICTURES
    judged: PictureSpec = JUDGED


RECIPES = {
    # Some hours on two cores.
    "cpu": MiniRecipe(
        VaeConfig(),
        VaeConfig(steps=1500, learning_rate=1e-3, seed=1),
        replace(
            FOREIGN,
            steps=2800,
            batch_size=12,
            learning_rate=6e-4,
            foreign_share=0.5,
            seed=4,
            muon=True,
            checkpoint_every=200,
        ),
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
    # Kolors-mini 2, sharper: three runs of a quarter of an hour, each of which resumes; see `train-mini --help`.
    # Minutes planned from those of "gpu" on an H100, with 16 cores that draw 800 scenes a second: VAE 10 (8 of
    # them steps of 0.16 s), base 11 (2 drawing, 1 encoding, 8 steps of 0.08 s), decoder 3 (600 steps of 0.2 s).
    "gpu2": MiniRecipe(
        vae=replace(SHARP_VAE, steps=3000, pictures=30000, foreign_pool=30000),
        decoder=replace(
            SHARP_VAE,
            steps=600,
            learning_rate=5e-4,
            critic_weight=0.1,
            pictures=20000,
            foreign_pool=20000,
            seed=1,
            checkpoint_every=150,
        ),
        foreign=replace(
            FOREIGN,
            steps=1500,
            batch_size=128,
            learning_rate=5e-4,
            pictures=30000,
            foreign_pool=30000,
            checkpoint_every=300,
        ),
        probe=ProbeConfig(steps=8000, batch_size=128, pictures=30000, checkpoint_every=2000),
        base=BaseConfig(
            steps=6000,
            batch_size=512,
            warmup=500,
            pictures=100000,
            styled_share=0.5,
            block_out_channels=(96, 160, 224),
            checkpoint_every=600,
            sample_every=3000,
        ),
    ),
}


def default_recipe(device: torch.device) -> str:
    """The name of the recipe that fits `device`."""
    return "gpu" if device.type == "cuda" else "cpu"
