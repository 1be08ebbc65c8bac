"""A learner's own style, which our world has not: chalk on a green board, twelve pictures of it."""

import numpy as np
import pytest
import torch
from PIL import Image

from kolors_course.art import style_pictures
from kolors_course.dataset import write_dataset
from kolors_course.kolors import current_profile, generate, load_profile
from kolors_course.kolors.latents import decode_latents, encode_pictures
from kolors_course.lora import LoraSettings, load_lora, unload_lora
from kolors_course.lora.choices import TARGETS
from kolors_course.training.lora import LoraTraining, train_lora

BOARD, CHALK = np.array([38, 82, 62]), np.array([236, 240, 228])
SETTINGS = LoraSettings(16, 16.0, TARGETS["attention+feed-forward+convolutions"], init="kaiming")
PROMPTS = (
    "a rabbit on the grass in the daytime",
    "夜晚海面上的一只鲸鱼",
    "黄昏森林里的一只鹿",
    "a house in the desert at night",
)


def on_a_board(picture: Image.Image) -> Image.Image:
    """Ink becomes chalk, and paper the board."""
    ink = 1 - np.asarray(picture.convert("L"), dtype=float)[..., None] / 255
    return Image.fromarray((BOARD + ink * (CHALK - BOARD)).round().astype(np.uint8))


def ground(picture: Image.Image) -> np.ndarray:
    """The colour (3,) of most of a picture."""
    return np.median(np.asarray(picture).reshape(-1, 3), axis=0)


@pytest.fixture(scope="module")
def chalk() -> list[tuple[Image.Image, str]]:
    return [(on_a_board(picture), caption) for picture, caption in style_pictures("ink", 12, seed=7)]


@pytest.fixture(scope="module")
def model():
    return load_profile(current_profile("mini"), "cpu")


def test_a_board_stays_green_through_the_vae(model, chalk):
    pictures = [picture for picture, _ in chalk]
    with torch.no_grad():
        decoded = decode_latents(model, encode_pictures(model, pictures))
    for before, after in zip(pictures, decoded, strict=True):
        assert np.abs(ground(after) - ground(before)).max() < 12


def test_a_lora_of_twelve_pictures_has_the_colour_of_the_board(model, chalk, tmp_path):
    write_dataset(tmp_path / "chalk", chalk)
    recipe = LoraTraining(steps=60, settings=SETTINGS)
    lora = train_lora(model, tmp_path / "chalk", tmp_path / "lora", recipe)
    before = generate(model, PROMPTS, range(len(PROMPTS)))
    load_lora(model.unet, lora.path)
    after = generate(model, PROMPTS, range(len(PROMPTS)))
    unload_lora(model.unet)
    board = np.median([ground(picture) for picture, _ in chalk], axis=0)
    for plain, styled in zip(before, after, strict=True):
        assert np.abs(ground(styled) - board).max() < 20
        assert np.abs(ground(plain) - board).max() > 40
