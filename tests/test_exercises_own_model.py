"""The open exercise of notebook 01: what was drawn is measured, and each way of going wrong is told."""

import re

import pytest
import torch

from kolors_course.exercises import own_model
from kolors_course.theory.ink import ink


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


EXAMPLES, UNSEEN, MORE = (ink("可", count, seeded(count)) for count in (4096, 2000, 1900))
NOISE = torch.randn(2000, 2, generator=seeded())


def reply(points):
    return own_model.check_own_model.reply(points, EXAMPLES, UNSEEN)


def test_true_points_measure_as_they_should():
    found = own_model.measured(MORE, EXAMPLES, UNSEEN)
    assert found.stray == pytest.approx(0.01, abs=0.01)
    assert found.bare == pytest.approx(0.01, abs=0.02)
    assert found.distance == pytest.approx(0, abs=0.003)
    assert found.copies < 0.01
    assert reply(MORE).startswith("Right. ")


def test_examples_with_a_little_noise_are_a_model():
    assert reply(EXAMPLES[:2000] + 0.05 * NOISE).startswith("Right. ")


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (EXAMPLES[:2000], "a copy, not a model"),
        (UNSEEN, "a copy, not a model"),
        (EXAMPLES.mean(dim=0) + EXAMPLES.std(dim=0) * NOISE, "too much lies beside"),
        (0.05 * NOISE + torch.tensor([0.0, 1.2]), "crowded in one place"),
        (MORE[MORE[:, 1] > -0.5], "part of the word is missing"),
        (2 * MORE, "Place or size"),
        (MORE + 0.6, "Place or size"),
        (torch.cat([MORE, MORE[MORE[:, 1] > 0].repeat(2, 1)]), "some have too many"),
        (NOISE[:50], "50 points: give from"),
        (torch.full((2000, 2), torch.nan), "finite numbers"),
        (NOISE.T, r"tensor of points, of the shape \(2000, 2\)"),
        (NOISE.tolist(), "wanted is one tensor"),
        (None, "wanted is one tensor"),
        (torch.nn.Linear(2, 2), "wanted are the points that it draws"),
        (..., "Yours to write"),
    ],
)
def test_what_is_wrong_with_points_is_told(points, message):
    said = reply(points)
    assert not said.startswith("Right. ")
    assert re.search(message, said)


def test_the_librarys_points_are_right(monkeypatch):
    monkeypatch.setenv("KOLORS_COURSE_FAST", "1")
    assert reply(own_model.library_points(EXAMPLES, UNSEEN)).startswith("Right. ")
