"""The exercises of notebook 04: right answers pass, and each likely mistake gets its own explanation."""

import re

import pytest
import torch

from kolors_course.diffusion import NoiseSchedule, classifier_free_guidance, classifier_guided
from kolors_course.exercises import Right, guidance


def test_the_librarys_guidance_passes():
    assert isinstance(guidance.check_guidance.reply(classifier_free_guidance), Right)
    assert isinstance(guidance.check_guidance.reply(lambda u, c, s: u + s * (c - u)), Right)
    assert isinstance(guidance.check_guidance.reply(lambda u, c, s: s * c - (s - 1) * u), Right)


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        (lambda u, c, s: (1 + s) * c - s * u, "paper's own convention"),
        (lambda u, c, s: c + s * (u - c), "changed places"),
        (lambda u, c, s: u - s * (c - u), "The sign"),
        (lambda u, c, s: s * c, "guides nothing"),
        (lambda u, c, s: s * (c - u), "starting point is missing"),
        (lambda u, c, s: u + s * c, "adds the whole of text"),
        (lambda u, c, s: u + (c - u) / s, "Divided by s"),
        (lambda u, c, s: (u + c) / 2, "For"),
        (lambda u, c, s: None, "gives back None"),
        (lambda u, c, s: (u + s * (c - u)).mean(), "shape"),
    ],
)
def test_wrong_guidance_is_explained(guide, message):
    assert re.search(message, guidance.check_guidance.reply(guide))


def test_the_right_push_passes_and_is_what_the_library_does():
    assert isinstance(guidance.check_classifier_push.reply(guidance.push_by_classifier), Right)
    schedule, x = NoiseSchedule.kolors(), torch.tensor([[0.3, -0.2]])
    weight = torch.tensor([1.5, -0.5])
    denoise = classifier_guided(
        lambda sample, t: 0.1 * sample, lambda sample, t: sample @ weight, schedule, 2.0
    )
    t = torch.tensor(600.0)
    ours = guidance.push_by_classifier(0.1 * x, weight[None], schedule.alphas_cumprod[600].item(), 2.0)
    torch.testing.assert_close(denoise(x, t), ours)


@pytest.mark.parametrize(
    ("push", "message"),
    [
        (lambda e, g, a, s: e + s * (1 - a) ** 0.5 * g, "The sign"),
        (lambda e, g, a, s: e - s * (1 - a) * g, "root is missing"),
        (lambda e, g, a, s: e - s * a**0.5 * g, "signal is left"),
        (lambda e, g, a, s: e - s * ((1 - a) / a) ** 0.5 * g, "relative to the signal"),
        (lambda e, g, a, s: e - s * g, "noise level is missing"),
        (lambda e, g, a, s: e - (1 - a) ** 0.5 * g, "left out"),
        (lambda e, g, a, s: e, "For"),
        (lambda e, g, a, s: None, "gives back None"),
    ],
)
def test_wrong_pushes_are_explained(push, message):
    assert re.search(message, guidance.check_classifier_push.reply(push))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (50, "all the way"),
        (25, "asks the U-Net twice"),
        (20, "still steps"),
        (7, "not 7"),
        ("35", "not a number"),
    ],
)
def test_wrong_counts_are_explained(answer, message):
    assert re.search(message, guidance.check_unet_rows.reply(answer, steps=25, guided_steps=10))


def test_the_right_count_passes():
    assert "35 instead of 50" in guidance.check_unet_rows.reply(35, steps=25, guided_steps=10)


SIGMAS = (29.0, 9.0, 4.0, 2.0, 1.0, 0.5)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (lambda sigma: 5.0, "plain guidance"),
        (lambda sigma: 1, "never guides"),
        (lambda sigma: 5.0 if sigma > 500 else 1.0, "not for a timestep"),
        (lambda sigma: 5.0 if 0.28 < sigma < 5.4 else 0.0, "Off is 1"),
        (lambda sigma: 5.0 - sigma, "leads away"),
        (lambda sigma: 7.0 if sigma > 5 else 1.0, "between 4 and 5"),
        (lambda sigma: 2.0 if sigma > 5 else 1.0, "between 4 and 5"),
        (lambda sigma: float("nan"), "gives nan"),
        (lambda sigma: None, "not a number"),
        (lambda: 5.0, "It is called as"),
        (5.0, "not a function"),
        (lambda sigma: ..., "Yours to write"),
    ],
)
def test_what_is_no_schedule_of_guidance_is_explained(scale, message):
    assert re.search(message, guidance.check_scale.reply(scale, SIGMAS, 5.0))


def test_any_schedule_is_right_and_its_cost_is_told():
    interval = guidance.check_scale.reply(lambda sigma: 5.0 if 0.28 < sigma < 5.4 else 1.0, SIGMAS, 5.0)
    assert isinstance(interval, Right)
    assert "guides with 1, 1, 5, 5, 5, 5: 10 samples" in interval
    assert isinstance(guidance.check_scale.reply(guidance.falling_scale(SIGMAS, 5.0), SIGMAS, 5.0), Right)
