"""The open task of notebook 02: schedules that suit the heaps pass, and each likely fault has its own diagnosis."""

import re

import pytest
import torch

from kolors_course.diffusion import NoiseSchedule
from kolors_course.exercises import Right, own_schedule
from kolors_course.theory import toys

U = torch.arange(1, 1001) / 1000
MINE = NoiseSchedule(own_schedule.cosine(U))


def of_sigmas(low, high, power):
    """ᾱ for noise levels that rise evenly in σ^(1/power)."""
    return lambda u: (
        1 / (1 + (low ** (1 / power) + u * (high ** (1 / power) - low ** (1 / power))) ** (2 * power))
    )


@pytest.mark.parametrize(
    "alpha_bar",
    [
        own_schedule.cosine,
        of_sigmas(0.02, 30, 7),
        lambda u: 1 - 0.999 * u,
        lambda u: (1 - 0.99 * u) ** 2,
        lambda u: [float(1 - 0.999 * x) for x in u],
    ],
)
def test_schedules_that_suit_the_heaps_pass(alpha_bar):
    assert isinstance(own_schedule.check_own_schedule.reply(alpha_bar), Right)


@pytest.mark.parametrize(
    ("alpha_bar", "message"),
    [
        (lambda u: u, "It rises, from 0.001 to 1"),
        (lambda u: 1 - u, r"At u = 1 ᾱ is 0\. With ᾱ = 0 the SNR is 0"),
        (lambda u: 1.2 - u, r"At u = 0.001 ᾱ is 1.199: with ᾱ = 1"),
        (
            lambda u: 0.9 - 0.8 * u + 0.05 * torch.sin(50 * u),
            "fall at every timestep, but does not at u = 0.002",
        ),
        (lambda u: 1 - 0.999 * (10 * u).ceil() / 10.0, "fall at every timestep, but does not at u = 0.002"),
        (lambda u: (0.5 - u).sqrt(), "At u = 0.501 ᾱ is not a number"),
        (lambda u: 1 - 0.8 * u, "terminal SNR is 0.25: √ᾱ ends at 0.45"),
        (of_sigmas(0.02, 1000, 7), "σ ends at 1000"),
        (lambda u: 0.98 - 0.979 * u, "σ begins at 0.146"),
        (lambda u: torch.where(u < 0.5, 1 - 0.2 * u, 0.5 - 0.499 * u), "At u = 0.5 ᾱ falls by 0.65 at once"),
        (lambda u: 0.9975 * torch.exp(-7 * (u - 0.001)), "Only 10% of the timesteps"),
        (lambda u: None, "gives back None|where a tensor is wanted"),
        (lambda u: u.mean(), r"shape \(\), not \(1000,\)"),
        (0.5, "not a function"),
        (lambda u: ..., "Yours to write"),
    ],
)
def test_each_fault_of_a_schedule_is_told(alpha_bar, message):
    assert re.search(message, own_schedule.check_own_schedule.reply(alpha_bar))


def heaps(width=toys.BLOB_STD, stray=0.0, modes=8):
    generator = torch.Generator().manual_seed(0)
    count = own_schedule.POINTS
    centres = toys.eight_centres()[torch.arange(count) % modes]
    points = centres + width * torch.randn(count, 2, generator=generator)
    points[: int(stray * count)] = torch.tensor([0.8, 0.0])
    return points


def test_the_true_points_and_the_perfect_denoisers_pass():
    for points in (heaps(), heaps(stray=0.1), own_schedule.drawn_exactly(MINE, 0.2)):
        assert isinstance(own_schedule.check_own_drawing.reply(points, MINE, 0.2), Right)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (0.05 * torch.randn(2000, 2), "mean of all"),
        (torch.randn(2000, 2, generator=torch.Generator().manual_seed(1)), "lie in no heap"),
        (heaps(width=0.03), "the last step begins with too much noise"),
        (heaps(modes=7), "Only 7 of 8 heaps"),
        (heaps(stray=0.3), "28|30|31% of the points stray; 20% is to be beaten"),
        (torch.full((2000, 2), float("nan")), "blew up"),
        (heaps()[:100], r"shape \(100, 2\), not \(2000, 2\)"),
        (..., "Yours to write"),
    ],
)
def test_each_fault_of_drawn_points_is_told(points, message):
    assert re.search(message, own_schedule.check_own_drawing.reply(points, MINE, 0.2))


def test_without_an_answer_the_perfect_denoiser_draws():
    assert torch.equal(own_schedule.check_own_drawing(..., MINE, 0.2), own_schedule.drawn_exactly(MINE, 0.2))
