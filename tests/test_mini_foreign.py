"""Pictures that are not of the world, and a VAE that learns them while its latents of the world stay."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from kolors_course.mini.foreign import DRAWN, FOREIGN_KINDS, RECOLOURED, foreign_pictures, with_foreign
from kolors_course.mini.pictures import PictureSpec, PictureStore, draw_pictures, to_model
from kolors_course.mini.recipe import PICTURES
from kolors_course.mini.reconstructions import psnr
from kolors_course.mini.vae import AnchoredObjective, VaeConfig, build_vae, train_mini_vae, vae_loss
from kolors_course.platform.paths import data_dir

SPEC = PictureSpec(seed=10, size=32, styled_share=0.5)
TINY = VaeConfig(steps=2, batch_size=4, block_out_channels=(8, 8), pictures=8, checkpoint_every=1)


@pytest.fixture(scope="module")
def world():
    return draw_pictures(SPEC, 6)


@pytest.fixture(scope="module")
def picture(world):
    return np.ascontiguousarray(world[0].numpy().transpose(1, 2, 0))


@pytest.mark.parametrize("kind", FOREIGN_KINDS)
def test_every_kind_is_a_picture_of_its_own_and_the_same_again(kind, world):
    pictures = foreign_pictures(world, kind)
    assert pictures.shape == world.shape
    assert pictures.dtype == torch.uint8
    assert torch.equal(pictures, foreign_pictures(world, kind))
    assert all(not torch.equal(one, other) for one, other in zip(pictures, world, strict=True))
    assert len({picture.numpy().tobytes() for picture in pictures}) == len(world)


def test_a_negative_of_a_negative_is_the_picture(picture):
    rng = np.random.default_rng(0)
    inverted = RECOLOURED["inverted"]
    assert np.array_equal(inverted(rng, inverted(rng, picture)), picture)


def test_a_duotone_has_only_mixtures_of_two_colours(picture):
    duotone = RECOLOURED["duotone"](np.random.default_rng(0), picture).reshape(-1, 3).astype(float)
    _, strengths, _ = np.linalg.svd(duotone - duotone.mean(0), full_matrices=False)
    assert strengths[1] < 0.03 * strengths[0]  # rounding to whole numbers


def test_a_turned_hue_leaves_the_brightest_channel_as_bright(picture):
    turned = RECOLOURED["turned hue"](np.random.default_rng(0), picture)
    assert np.abs(turned.max(2).astype(int) - picture.max(2)).max() <= 2


def test_permuted_channels_hold_the_same_numbers(picture):
    permuted = RECOLOURED["permuted channels"](np.random.default_rng(0), picture)
    assert np.array_equal(np.sort(permuted, axis=2), np.sort(picture, axis=2))


def test_a_gamma_keeps_black_white_and_order():
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    changed = RECOLOURED["other gamma"](np.random.default_rng(0), ramp)[0, :, 0].astype(int)
    assert (changed[0], changed[-1]) == (0, 255)
    assert (np.diff(changed) >= 0).all()
    assert np.abs(changed - np.arange(256)).max() > 20


def test_flat_shapes_are_flat():
    for seed in range(5):
        shapes = DRAWN["flat shapes"](np.random.default_rng(seed), 64)
        counts = np.sort(np.unique(shapes.reshape(-1, 3), axis=0, return_counts=True)[1])[::-1]
        assert counts[:7].sum() > 0.85 * counts.sum()  # the ground, six shapes at most, and soft edges


def test_foreign_pictures_come_where_they_are_asked_for(world):
    where = torch.tensor([False, True, False, True, False, False])
    mixed = with_foreign(world, where, np.random.default_rng(0))
    same = [torch.equal(one, other) for one, other in zip(mixed, world, strict=True)]
    assert same == (~where).tolist()


def test_the_anchor_is_zero_until_the_latents_of_the_world_move(world):
    torch.manual_seed(0)
    vae = build_vae(TINY)
    objective = AnchoredObjective(vae, replace(TINY, anchor_weight=3.0))
    pixels, noise = to_model(world[:4]), torch.zeros(4, 4, 16, 16)
    world_only, foreign_only = torch.ones(4), torch.zeros(4)
    losses = objective(vae, pixels, noise, world_only)
    assert losses["anchor"] == 0
    torch.testing.assert_close(losses["loss"], vae_loss(vae, pixels, TINY, noise))
    with torch.no_grad():
        before = vae.encode(pixels).latent_dist.mean
        vae.quant_conv.bias[:4] += 0.5
    moved = (0.5 / before.std((0, 2, 3))).square().mean()
    torch.testing.assert_close(objective(vae, pixels, noise, world_only)["anchor"], 3 * moved)
    assert objective(vae, pixels, noise, foreign_only)["anchor"] == 0


def test_latents_of_the_world_stay_where_an_anchor_holds_them(tmp_path, world):
    torch.manual_seed(0)
    start, store = build_vae(TINY), PictureStore(SPEC, tmp_path / "pictures", chunk=8)
    config = replace(TINY, steps=12, warmup=1, learning_rate=3e-3, foreign_share=0.5, log_weight=0.02)

    def drift(anchor_weight):
        config_ = replace(config, anchor_weight=anchor_weight)
        vae = train_mini_vae(config_, store, tmp_path / f"run-{anchor_weight}", deepcopy(start))
        with torch.no_grad():
            latents = [each.encode(to_model(world)).latent_dist.mean for each in (start, vae)]
        return (latents[1] - latents[0]).square().mean()

    assert drift(1000.0) < drift(0.0) / 4


def test_a_run_with_foreign_pictures_is_resumed_to_the_last_bit(tmp_path):
    torch.manual_seed(0)
    start, store = build_vae(TINY), PictureStore(SPEC, tmp_path / "pictures", chunk=8)
    config = replace(TINY, foreign_share=0.5, anchor_weight=1.0, log_weight=0.02)
    first = train_mini_vae(config, store, tmp_path / "run", deepcopy(start))
    again = train_mini_vae(config, store, tmp_path / "run", deepcopy(start))
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert "psnr duotone" in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def committed_vae():
    return AutoencoderKL.from_pretrained(data_dir() / "kolors-mini" / "vae", torch_dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def fresh():
    return draw_pictures(replace(PICTURES, seed=77, lora_subjects="all"), 16)


@pytest.mark.parametrize("kind", FOREIGN_KINDS)
def test_the_committed_vae_draws_foreign_pictures(committed_vae, fresh, kind):
    """Before it learned them, it drew these at 17 to 23 dB."""
    assert psnr(committed_vae, foreign_pictures(fresh, kind)) > 25.5


def test_the_committed_vae_still_draws_its_world(committed_vae, fresh):
    assert psnr(committed_vae, fresh) > 28
