"""Losses and weights of timesteps against exact answers."""

import pytest
import torch

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.training.losses import (
    LossSettings,
    debiased_weight,
    masked_mean,
    pseudo_huber,
    timestep_weight,
    weighted_loss,
)
from kolors_course.training.objective import draw_noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_huber_is_square_near_zero_and_straight_far_away():
    zero = torch.zeros(3, dtype=torch.float64)
    small, large = torch.tensor([0.0, 1e-4, -1e-4]).double(), torch.tensor([1e3, -1e3, 2e3]).double()
    torch.testing.assert_close(pseudo_huber(small, zero, 0.1), small.square(), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        pseudo_huber(large, zero, 0.1), 0.2 * (large.abs() - 0.1), rtol=1e-6, atol=1e-4
    )
    # d = 3, c = 4: 2·4·(5 - 4)
    assert float(pseudo_huber(torch.tensor(3.0), torch.tensor(0.0), 4.0)) == pytest.approx(8.0)


def test_debiasing_divides_by_the_root_of_the_signal_to_noise_ratio():
    schedule, timesteps = NoiseSchedule.kolors(), torch.tensor([0, 500, 1099])
    torch.testing.assert_close(debiased_weight(schedule, timesteps), schedule.snr[timesteps] ** -0.5)
    assert timestep_weight(schedule, timesteps, LossSettings()) is None
    weights = timestep_weight(schedule, timesteps, LossSettings(debiased=True))
    assert (weights.diff() > 0).all()


def test_masked_parts_do_not_count_and_the_rest_counts_as_a_whole():
    error = torch.rand(2, 4, 4, 4, generator=generator())
    masks = torch.zeros(2, 1, 4, 4)
    masks[:, :, :2] = 1
    torch.testing.assert_close(masked_mean(error, masks), error[:, :, :2].mean((1, 2, 3)))
    torch.testing.assert_close(masked_mean(error, torch.full_like(masks, 0.5)), masked_mean(error, None))


def test_the_weighted_loss_by_hand():
    schedule, timesteps = NoiseSchedule.kolors(), torch.tensor([10, 900])
    predicted, noise = torch.randn(2, 2, 4, 8, 8, generator=generator())
    squares = (predicted - noise).square().mean((1, 2, 3))
    plain = weighted_loss(predicted, noise, timesteps, schedule, LossSettings())
    torch.testing.assert_close(plain, squares.mean())
    debiased = weighted_loss(predicted, noise, timesteps, schedule, LossSettings(debiased=True))
    torch.testing.assert_close(debiased, (squares * schedule.sigmas[timesteps]).mean())


def test_a_noise_offset_shifts_whole_channels_by_its_size():
    latents = torch.zeros(4000, 4, 4, 4)
    plain, timesteps = draw_noise(latents, 1100, generator())
    shifted, same = draw_noise(latents, 1100, generator(), 0.5)
    assert torch.equal(timesteps, same)
    shift = shifted - plain
    torch.testing.assert_close(shift, shift[:, :, :1, :1].expand_as(shift), atol=1e-5, rtol=0)
    assert float(shift[:, :, 0, 0].std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "l3"},
        {"huber_c": 0.0},
        {"noise_offset": -0.1},
        {"min_snr_gamma": 0.0},
        {"debiased": True, "min_snr_gamma": 5.0},
    ],
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(CourseError, match=next(iter(bad)) if "kind" not in bad else "l3"):
        LossSettings(**bad)
