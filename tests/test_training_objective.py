"""The training objective against diffusers' scheduler and weights."""

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from kolors_course.errors import CourseError
from kolors_course.kolors import encode_prompts, time_ids
from kolors_course.kolors.configs import KOLORS_SCHEDULER
from kolors_course.kolors.unet import conditioning_of, unet_noise
from kolors_course.training.objective import epsilon_loss, stratified_timesteps


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [1, 7, 64])
def test_one_timestep_from_each_slice(count):
    g = generator()
    for _ in range(20):
        timesteps = stratified_timesteps(count, 1100, g)
        assert timesteps.dtype == torch.int64
        assert timesteps.shape == (count,)
        slices = (timesteps.double() + 0.5) * count / 1100  # the middle of a timestep; slices are not whole
        assert (slices.sort().values - torch.arange(count) - 0.5).abs().max() < 0.5 + count / 1100


def test_each_timestep_alone_is_uniform():
    """The first element of many draws, in eleven bins: chi-square with 10 degrees of freedom."""
    g = generator()
    first = torch.stack([stratified_timesteps(8, 1100, g)[0] for _ in range(5500)])
    assert 0 <= first.min() < 10
    assert 1089 < first.max() < 1100
    counts = torch.bincount(first // 100, minlength=11).double()
    assert float(((counts - 500) ** 2 / 500).sum()) < 29.6  # exceeded once in a thousand seeds


def test_the_batch_covers_the_range_more_evenly_than_chance():
    g = generator()
    stratified = torch.stack([stratified_timesteps(16, 1100, g).double().mean() for _ in range(200)]).std()
    chance = torch.stack([torch.randint(1100, (16,), generator=g).double().mean() for _ in range(200)]).std()
    assert stratified < chance / 5  # in theory 16 times less


@pytest.mark.parametrize("count", [1, 64, 1000])
def test_the_last_timestep_is_never_passed(monkeypatch, count):
    """999 plus the largest float32 below one rounds up to 1000."""
    largest = torch.tensor(1.0).nextafter(torch.tensor(0.0))
    monkeypatch.setattr(torch, "rand", lambda n, generator: largest.expand(n))
    assert int(stratified_timesteps(count, 1100, generator()).max()) == 1099


@pytest.fixture(scope="module")
def batch(tiny_model):
    latents = torch.randn(4, 4, 8, 8, generator=generator(1))
    with torch.no_grad():
        prompts = encode_prompts(
            tiny_model.tokenizer, tiny_model.text_encoder, ["a cat", "", "夜晚", "a red car"]
        )
    return latents, prompts, time_ids(32, 32).expand(4, -1)


@torch.no_grad()
def hand_written_loss(model, batch, seed, gamma):
    """The loss as diffusers' training scripts compute it (min-SNR as in its train_text_to_image_lora_sdxl)."""
    latents, prompts, ids = batch
    g = generator(seed)
    noise = torch.randn(latents.shape, generator=g)
    timesteps = stratified_timesteps(len(latents), 1100, g)
    settings = {k: v for k, v in KOLORS_SCHEDULER.items() if k != "interpolation_type"}
    scheduler = DDPMScheduler(**settings)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    predicted = unet_noise(model, noisy, timesteps, conditioning_of(prompts, ids))
    if gamma is None:
        return torch.nn.functional.mse_loss(predicted, noise)
    snr = compute_snr(scheduler, timesteps)
    weights = torch.stack([snr, gamma * torch.ones_like(timesteps)], dim=1).min(dim=1)[0] / snr
    loss = torch.nn.functional.mse_loss(predicted, noise, reduction="none")
    return (loss.mean(dim=(1, 2, 3)) * weights).mean()


@pytest.mark.parametrize("gamma", [None, 5.0, 0.01])
@torch.no_grad()
def test_the_loss_is_that_of_diffusers_training_scripts(tiny_model, batch, gamma):
    ours = epsilon_loss(tiny_model, *batch, generator(2), gamma)
    torch.testing.assert_close(ours, hand_written_loss(tiny_model, batch, 2, gamma), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_min_snr_makes_the_loss_smaller_and_is_refused_below_zero(tiny_model, batch):
    plain, weighted = (float(epsilon_loss(tiny_model, *batch, generator(2), gamma)) for gamma in (None, 0.1))
    assert weighted < 0.9 * plain
    with pytest.raises(CourseError, match="gamma"):
        epsilon_loss(tiny_model, *batch, generator(2), -1.0)


@torch.no_grad()
def test_every_sample_has_its_own_timestep(tiny_model, batch, monkeypatch):
    """The camp's trainer used one timestep for the whole batch."""
    seen = []
    schedule = type(tiny_model.schedule)
    stock = schedule.add_noise

    def watch(self, x0, noise, timesteps):
        seen.append(timesteps)
        return stock(self, x0, noise, timesteps)

    monkeypatch.setattr(schedule, "add_noise", watch)
    epsilon_loss(tiny_model, *batch, generator(0))
    assert seen[0].shape == (4,)
    assert len(seen[0].unique()) == 4


@torch.no_grad()
def test_the_generator_alone_decides(tiny_model, batch):
    first, again, other = (float(epsilon_loss(tiny_model, *batch, generator(s))) for s in (0, 0, 1))
    assert first == again != other
