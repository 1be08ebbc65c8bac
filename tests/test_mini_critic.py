"""The critic of the VAE: its losses by their formulas, and both learners in one pass."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from kolors_course.errors import CourseError
from kolors_course.mini.critic import (
    Critic,
    CriticisedLearner,
    adaptive_weight,
    adversarial_losses,
    hinge_loss,
)
from kolors_course.mini.foreign import FOREIGN_KINDS, foreign_pool
from kolors_course.mini.mixed import mixed_pictures
from kolors_course.mini.pictures import PictureSpec, PictureStore, draw_pictures, to_model
from kolors_course.mini.vae import CriticisedObjective, VaeConfig, build_vae, train_mini_vae, vae_loss
from kolors_course.training.learning import parameters_of, plain_pass

PICTURES = PictureSpec(seed=10, size=16, styled_share=0.6)
TINY = VaeConfig(
    steps=4,
    batch_size=4,
    block_out_channels=(8, 8),
    pictures=8,
    checkpoint_every=2,
    critic_weight=0.5,
    foreign_share=0.5,
    foreign_pool=8,
    latent_channels=8,
    layers_per_block=2,
)


def test_a_patch_is_34_pixels_wide():
    """What changes outside of 34 x 34 pixels is not seen; without normalisation, which looks at the whole picture."""
    torch.manual_seed(0)
    critic = Critic(8)
    for i, layer in enumerate(critic.layers):
        if isinstance(layer, torch.nn.GroupNorm):
            critic.layers[i] = torch.nn.Identity()
    pixels = torch.randn(1, 3, 64, 64, requires_grad=True)
    words = critic(pixels)
    words[0, 0, words.shape[2] // 2, words.shape[3] // 2].backward()
    seen = pixels.grad.abs().sum((0, 1)) > 0
    assert (seen.any(0).sum(), seen.any(1).sum()) == (34, 34)


def test_hinge_loss():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert hinge_loss(real, fake).item() == (0.0 + 0.5) / 4 + (0.0 + 1.0) / 4
    assert hinge_loss(torch.tensor([1.0]), torch.tensor([-1.0])) == 0


def test_the_adaptive_weight_makes_both_gradients_equal():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    loss, adversarial = (3 * weight).square().sum(), (weight * torch.tensor([0.3, -0.4])).sum()
    found = adaptive_weight(loss, adversarial, weight)
    assert not found.requires_grad
    one = torch.autograd.grad(loss, weight, retain_graph=True)[0].norm()
    two = torch.autograd.grad(found * adversarial, weight)[0].norm()
    assert two.item() == pytest.approx(one.item(), rel=1e-4)
    assert adaptive_weight(loss, 0 * weight.sum(), weight) == 1e4  # a critic without a word: finite


def seeded():
    """A VAE, a critic, and pictures with noise."""
    torch.manual_seed(0)
    pixels = to_model(draw_pictures(PICTURES, 4))
    return build_vae(TINY), Critic(8), pixels, torch.randn(4, 8, 8, 8)


def test_one_pass_gives_each_its_own_gradients():
    """Those of two passes: the VAE against a frozen critic, and the critic against reconstructions."""
    vae, critic, pixels, noise = seeded()
    objective = CriticisedObjective(TINY, critic)
    learner = CriticisedLearner(vae, critic)
    told = plain_pass(learner, objective, lambda step: {"pixels": pixels, "noise": noise})(0)
    found = [parameter.grad.clone() for parameter in parameters_of(learner)]

    posterior = vae.encode(pixels).latent_dist
    decoded = vae.decode(posterior.mean + posterior.std * noise).sample
    loss, words = vae_loss(vae, pixels, TINY, noise), -critic(decoded).mean()
    last = vae.decoder.conv_out.weight
    one, two = (torch.autograd.grad(each, last, retain_graph=True)[0].norm() for each in (loss, words))
    of_vae = loss + TINY.critic_weight * (one / (two + 1e-6)).detach() * words
    of_critic = (F.relu(1 - critic(pixels)).mean() + F.relu(1 + critic(decoded.detach())).mean()) / 2
    wanted = [
        *torch.autograd.grad(of_vae, list(vae.parameters())),
        *torch.autograd.grad(of_critic, list(critic.parameters())),
    ]
    assert sum(map(torch.Tensor.item, told.values())) == pytest.approx((of_vae + of_critic).item(), rel=1e-4)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)


def test_the_critic_learns_to_tell_them_apart():
    _, critic, pixels, _ = seeded()
    soft = F.avg_pool2d(pixels, 3, stride=1, padding=1)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    for _ in range(60):
        optimizer.zero_grad()
        hinge_loss(critic(pixels), critic(soft)).backward()
        optimizer.step()
    assert (critic(pixels).mean() - critic(soft).mean()) > 1


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return PictureStore(PICTURES, tmp_path_factory.mktemp("sharp") / "pictures", chunk=8)


@pytest.mark.parametrize("decoder_only", [False, True])
def test_a_run_that_was_cut_goes_on_to_the_last_bit(store, tmp_path, decoder_only):
    """A VAE with a critic and foreign pictures: cut in its third step, after the checkpoint of the second."""
    whole = train_mini_vae(TINY, store, tmp_path / "whole", decoder_only=decoder_only)
    seen = []

    class Cut(Exception):
        pass

    def cut(*arguments, **options):
        seen.append(1)
        if len(seen) == 3:
            raise Cut
        return adversarial_losses(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kolors_course.mini.vae.adversarial_losses", cut)
        with pytest.raises(Cut):
            train_mini_vae(TINY, store, tmp_path / "cut", decoder_only=decoder_only)
    rest = train_mini_vae(TINY, store, tmp_path / "cut", decoder_only=decoder_only)
    assert len(seen) == 3
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, rest.state_dict()[name]), name
    kept = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "cut")]
    assert all(torch.equal(tensor, kept[1]["critic"][name]) for name, tensor in kept[0]["critic"].items())


def test_a_run_without_a_critic_resumes_to_the_last_bit_too(store, tmp_path):
    config = replace(TINY, critic_weight=0.0, foreign_share=0.0, foreign_pool=0)
    whole = train_mini_vae(config, store, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "kolors_course.mini.vae.psnr", lambda *_: 1 / 0
        )  # after the checkpoint of the second step
        with pytest.raises(ZeroDivisionError):
            train_mini_vae(config, store, tmp_path / "cut")
    rest = train_mini_vae(config, store, tmp_path / "cut")
    assert all(torch.equal(tensor, rest.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_the_pool_holds_all_kinds_and_is_drawn_the_same_again(store, tmp_path):
    pool = foreign_pool(store, 8, seed=3)
    assert (pool.shape, pool.dtype) == ((8, 3, 16, 16), torch.uint8)
    world = store.read(0, 8)
    # Channels that are alike are the same in another order: a drawing in black and white may stay as it is.
    assert sum(not torch.equal(one, two) for one, two in zip(pool, world, strict=True)) >= 6
    assert torch.equal(pool, foreign_pool(store, 8, seed=3))
    assert not torch.equal(pool, foreign_pool(store, 8, seed=4))
    assert len(FOREIGN_KINDS) > 1


def test_a_share_of_each_batch_comes_from_the_pool():
    world, pool = torch.zeros(8, 3, 4, 4, dtype=torch.uint8), torch.full((5, 3, 4, 4), 255, dtype=torch.uint8)
    material = mixed_pictures(world, 8, (8, 2, 2), 0, foreign_share=0.5, pool=pool)
    drawn = [material(step) for step in range(20)]
    for each in drawn:
        assert each["noise"].shape == (8, 8, 2, 2)
        assert torch.equal(each["pixels"].mean((1, 2, 3)) < 0, each["world"] == 1)
    assert 0.3 < torch.stack([each["world"] for each in drawn]).mean() < 0.7
    later = mixed_pictures(world, 8, (8, 2, 2), 0, foreign_share=0.5, pool=pool, done=7)(7)
    assert all(torch.equal(later[name], drawn[7][name]) for name in later)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"foreign_pool": 9}, "foreign_pool is 9, but each is made of another one of 8 pictures"),
        ({"anchor_weight": 1.0}, "critic_weight is for a decoder alone"),
        ({"latent_channels": 0}, "latent_channels"),
        ({"critic_weight": -1.0}, "critic_weight"),
        ({"foreign_share": 1.5}, "foreign_share"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(bad, told):
    with pytest.raises(CourseError, match=told):
        replace(TINY, **bad)
