"""The exercises of notebook 01: right answers pass, and each likely mistake gets its own explanation."""

import math
import re

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from kolors_course.exercises import generative
from kolors_course.theory.flows import log_normal
from kolors_course.theory.matching import flow_matching_loss
from kolors_course.theory.nets import TimeNet, weights_from


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_right_kl_is_torchs_and_passes():
    mean, std = torch.randn(5, 3, generator=seeded()), torch.rand(5, 3, generator=seeded(1)) + 0.1
    expected = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(generative.kl_to_standard_normal(mean, std), expected)
    assert "½ nat" in generative.check_kl.reply(generative.kl_to_standard_normal)


@pytest.mark.parametrize(
    ("kl", "message"),
    [
        (lambda m, s: (m**2 + s**2 - 1 - 2 * s.log()).sum(-1), "Twice too much"),
        (lambda m, s: ((m**2 + s**2) / 2 - s.log()).sum(-1), "The -1 is missing"),
        (lambda m, s: ((m**2 + s**2 - 1) / 2 - (s**2).log()).sum(-1), "½ holds for the logarithm"),
        (lambda m, s: (m**2 + s - 1 - s.log()).sum(-1) / 2, "std for the variance"),
        (lambda m, s: (s.log() - (m**2 + s**2 - 1) / 2).sum(-1), "never negative"),
        (lambda m, s: (s.log() + (1 + m**2) / (2 * s**2) - 0.5).sum(-1), "mean is taken over codes"),
        (lambda m, s: ((m**2 + s**2 - 1) / 2 - s.log()).mean(-1), "do not average"),
        (lambda m, s: (m**2 + s**2 - 1) / 2 - s.log(), "shape"),
        (lambda m, s: ((m**2 + s**2 - 1) / 2 - s.log()).sum(0), "shape"),
        (lambda m, s: ((m**2 + s**2 - 1) / 2 + s.log()).sum(-1), "sign of the logarithm"),
        (lambda m, s: m.sum(-1), "the answer is"),
        (lambda m, s: None, "gives back None"),
    ],
)
def test_wrong_kls_are_explained(kl, message):
    assert re.search(message, generative.check_kl.reply(kl))


def test_the_right_change_of_variables_is_torchs_and_passes():
    x, shift, scale = (
        torch.randn(5, 2, generator=seeded()),
        torch.tensor([1.0, -1.0]),
        torch.tensor([0.5, 3.0]),
    )
    expected = Normal(shift, scale).log_prob(x).sum(dim=1)
    torch.testing.assert_close(generative.stretched_log_density(x, shift, scale), expected)
    at_the_centre = generative.stretched_log_density(
        torch.zeros(1, 2), torch.zeros(2), torch.tensor([2.0, 1.0])
    )
    assert at_the_centre.exp().item() == pytest.approx(1 / (4 * math.pi))
    assert "1/(2·2π)" in generative.check_change_of_variables.reply(generative.stretched_log_density)


@pytest.mark.parametrize(
    ("log_density", "message"),
    [
        (lambda x, m, s: log_normal((x - m) / s), "determinant is missing"),
        (lambda x, m, s: log_normal((x - m) / s) + s.abs().log().sum(), "stretching"),
        (lambda x, m, s: log_normal((x - m) / s) - s.log().sum(), "negative scale mirrors"),
        (lambda x, m, s: log_normal((x - m) / s) - s.abs().sum().log(), "sum of the logs"),
        (lambda x, m, s: log_normal(m + s * x) - s.abs().log().sum(), "Go from x back"),
        (lambda x, m, s: (log_normal((x - m) / s) - s.abs().log().sum()).exp(), "wanted is its logarithm"),
        (lambda x, m, s: log_normal((x - m) / s) - s.abs().log(), "size of tensor"),
        (lambda x, m, s: log_normal(x), "the answer is"),
    ],
)
def test_wrong_changes_of_variables_are_explained(log_density, message):
    assert re.search(message, generative.check_change_of_variables.reply(log_density))


def test_the_right_path_is_what_the_library_trains_on():
    with weights_from(seeded()):
        net = TimeNet()
    x0, noise = torch.randn(8, 2, generator=seeded()), torch.randn(8, 2, generator=seeded(1))
    t = torch.rand(8, generator=seeded(2))
    x_t, velocity = generative.straight_path(x0, noise, t[:, None])
    expected = (net(x_t, t) - velocity).square().mean()
    torch.testing.assert_close(flow_matching_loss(net, x0, noise, seeded(2)), expected)
    assert "(1.5, 1)" in generative.check_straight_path.reply(generative.straight_path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (lambda x0, e, t: (t * x0 + (1 - t) * e, e - x0), "At t = 0 there should be data"),
        (lambda x0, e, t: ((1 - t) * x0 + t * e, x0 - e), "runs towards the data"),
        (lambda x0, e, t: ((1 - t) * x0 + t * e, e), "That is the noise"),
        (lambda x0, e, t: ((1 - t) * x0 + t * e, t * (e - x0)), "way covered so far"),
        (lambda x0, e, t: ((1 - t) ** 0.5 * x0 + t**0.5 * e, e - x0), "which bends"),
        (lambda x0, e, t: (x0 + t * e, e - x0), "fade out"),
        (lambda x0, e, t: ((1 - t) * x0 + t * e, (1 - t) * (e - x0)), "way that is left"),
        (lambda x0, e, t: (x0, e), "right is"),
        (lambda x0, e, t: x0, "Return 2 tensors"),
        (lambda x0, e, t: (e - x0, (1 - t) * x0 + t * e), "halves are swapped"),
        (lambda x0, e, t: (x0, None), "gives back None where a tensor is wanted"),
    ],
)
def test_wrong_paths_are_explained(path, message):
    assert re.search(message, generative.check_straight_path.reply(path))
