"""A Kolors of a few megabytes with random weights: every code path of the real one, in milliseconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kolors_course.dataset import write_dataset
from kolors_course.diffusion import NoiseSchedule
from kolors_course.kolors import KolorsModel, Sampling
from kolors_course.lora import LoraSettings
from kolors_course.mini.networks import build_text_encoder, build_unet
from kolors_course.mini.saving import save_mini
from kolors_course.mini.tokenizer import build_tokenizer
from kolors_course.mini.vae import VaeConfig, build_vae
from kolors_course.training.lora import LoraResult, train_lora
from kolors_course.training.recipe import LoraTraining

TEXT_WIDTH = 96
SIDE = 32  # pixels; 8 latent cells of 4 pixels
QUICK = LoraTraining(
    steps=4,
    batch_size=2,
    learning_rate=1e-2,
    warmup=2,
    settings=LoraSettings(rank=4, alpha=8.0),
    precision="32",
    checkpoint_every=2,
)
SAMPLING = Sampling(4, 2.0, spacing="trailing")  # its own, quick and unlike the published
COLOURS = ("red", "blue", "green", "pink")


def build_tiny(folder: Path, blocks: tuple[int, int, int] = (32, 64, 64)) -> Path:
    """Write a tiny Kolors in diffusers layout to `folder` and return it.

    Its U-Net listens to the prompt much more than a freshly initialised one, so that a wrong prompt shows.
    """
    torch.manual_seed(0)
    tokenizer = build_tokenizer(folder.parent / f"{folder.name}-tokenizer", captions=2000)
    text_encoder = build_text_encoder(tokenizer.vocab_size, TEXT_WIDTH, layers=2)
    unet = build_unet(TEXT_WIDTH, blocks, (1, 1, 1), sample_size=8)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if name.endswith(("attn2.to_q.weight", "attn2.to_k.weight", "attn2.to_v.weight")):
                parameter.mul_(3)
    vae = build_vae(VaeConfig(block_out_channels=(8, 16, 16)))
    parts = (unet, vae, text_encoder, tokenizer, NoiseSchedule.kolors())
    save_mini(KolorsModel(*parts, "tiny", sampling=SAMPLING), folder)
    return folder


def write_pictures(folder: Path, count: int = 4, side: int = SIDE) -> Path:
    """A data set of `count` pictures, each of two colours, with captions; returns its folder."""
    rng = np.random.default_rng(0)
    items = []
    for i in range(count):
        pixels = np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
        pixels[: side // 2, side // 4 :] = rng.integers(0, 256, 3)
        items.append((Image.fromarray(pixels), f"a {COLOURS[i % 4]} cat number {i}"))
    return write_dataset(folder, items)


def stop_at(step: int) -> Callable[[int, float], None]:
    """A `progress` that presses Ctrl-C after so many steps."""

    def progress(done: int, loss: float) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


def train_interrupted(model: KolorsModel, pictures: Path, folder: Path, recipe: LoraTraining) -> LoraResult:
    """Train until it is interrupted in its third step, then run the same again to the end."""
    with pytest.raises(KeyboardInterrupt):
        train_lora(model, pictures, folder, recipe, progress=stop_at(3))
    return train_lora(model, pictures, folder, recipe)


def assert_same_gradients(one: Path, two: Path) -> None:
    """Two training runs without clipping saw the same gradients, in size too.

    Adam's steps are the same at any size of the gradients; its averages, which the checkpoint keeps, are not.
    """
    states = [
        torch.load(folder / "checkpoint.pt", weights_only=True)["optimizer"]["state"] for folder in (one, two)
    ]
    assert states[0].keys() == states[1].keys()
    for key, state in states[0].items():
        torch.testing.assert_close(state["exp_avg"], states[1][key]["exp_avg"], rtol=1e-3, atol=1e-7)


def state_of(unet: torch.nn.Module) -> tuple:
    """A U-Net's weights and everything else that training might leave behind."""
    tensors = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    facts = (unet.training, any(p.requires_grad for p in unet.parameters()), unet.is_gradient_checkpointing)
    return tensors, facts, sorted(vars(unet))


def assert_same_state(one: tuple, two: tuple) -> None:
    """Compare what `state_of` returned."""
    assert one[1] == two[1], (one[1], two[1])
    assert one[2] == two[2], f"attributes that only one has: {set(one[2]) ^ set(two[2])}"
    assert one[0].keys() == two[0].keys()
    assert all(torch.equal(tensor, two[0][name]) for name, tensor in one[0].items())


def same_weights(one: KolorsModel, two: KolorsModel) -> bool:
    return all(
        torch.equal(tensor, part_two.state_dict()[name])
        for part, part_two in ((one.unet, two.unet), (one.vae, two.vae), (one.text_encoder, two.text_encoder))
        for name, tensor in part.state_dict().items()
    )
