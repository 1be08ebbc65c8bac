"""The exercises of notebook 02: right answers pass, and each likely mistake gets its own explanation."""

import re
from itertools import pairwise

import pytest
import torch

from kolors_course.diffusion import NoiseSchedule, ddim
from kolors_course.exercises import diffusion

KOLORS = NoiseSchedule.kolors()
X0, NOISE = (torch.randn(4, 2, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))


def test_the_right_noise_is_the_schedules_and_passes():
    t = torch.tensor([700] * 4)
    expected = KOLORS.add_noise(X0, NOISE, t)
    torch.testing.assert_close(diffusion.noisy(X0, NOISE, KOLORS.alphas_cumprod[700].item()), expected)
    assert "0.6² + 0.8² = 1" in diffusion.check_add_noise.reply(diffusion.noisy)


@pytest.mark.parametrize(
    ("add_noise", "message"),
    [
        (lambda x0, e, a: a * x0 + (1 - a) * e, "variance shrinks"),
        (lambda x0, e, a: (1 - a) ** 0.5 * x0 + a**0.5 * e, "Swapped"),
        (lambda x0, e, a: a**0.5 * x0 + (1 - a**0.5) * e, "not 1-√ᾱ"),
        (lambda x0, e, a: a**0.5 * x0 + (1 - a) * e, "lacks its square root"),
        (lambda x0, e, a: a * x0 + (1 - a) ** 0.5 * e, "The picture lacks its square root"),
        (lambda x0, e, a: x0 + ((1 - a) / a) ** 0.5 * e, "sigma scale"),
        (lambda x0, e, a: a * x0 + (1 - a**2) ** 0.5 * e, "takes ᾱ for its root"),
        (lambda x0, e, a: a**0.5 * x0 - (1 - a) ** 0.5 * e, "with a plus"),
        (lambda x0, e, a: (1 - a) * x0 + a * e, "Swapped, and without"),
        (lambda x0, e, a: a**0.5 * x0, "noise is missing"),
        (lambda x0, e, a: (1 - a) ** 0.5 * e, "picture is missing"),
        (lambda x0, e, a: x0 + e, "the answer is"),
        (lambda x0, e, a: None, "gives back None"),
    ],
)
def test_wrong_noise_is_explained(add_noise, message):
    assert re.search(message, diffusion.check_add_noise.reply(add_noise))


def test_the_right_reading_of_v_undoes_the_target():
    t = torch.tensor([30, 400, 800, 1099])
    v, x_t = KOLORS.target(X0, NOISE, t, "v_prediction"), KOLORS.add_noise(X0, NOISE, t)
    for row in range(4):
        signal = KOLORS.alphas_cumprod[t[row]].item()
        found = diffusion.x0_from_v(x_t[row], v[row], signal**0.5, (1 - signal) ** 0.5)
        torch.testing.assert_close(found, X0[row], rtol=1e-4, atol=1e-5)
    assert "(a² + b²)x₀" in diffusion.check_x0_from_v.reply(diffusion.x0_from_v)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (lambda x, v, a, s: a * x + s * v, "The sign"),
        (lambda x, v, a, s: s * x + a * v, "That is ε"),
        (lambda x, v, a, s: (x - s * v) / a, "as if it were ε"),
        (lambda x, v, a, s: (x - s * (s * x + a * v)) / a, "Right but for a = 0"),
        (lambda x, v, a, s: s * v - a * x, "That is -x₀"),
        (lambda x, v, a, s: s * x - a * v, "a and b are swapped"),
        (lambda x, v, a, s: a * x - v, "v is taken b times"),
        (lambda x, v, a, s: a**2 * x - s**2 * v, "no squares"),
        (lambda x, v, a, s: a**0.5 * x - s**0.5 * v, "no further root"),
        (lambda x, v, a, s: x - s * v, "flow-matching velocity"),
        (lambda x, v, a, s: x, "the answer is"),
    ],
)
def test_wrong_readings_of_v_are_explained(formula, message):
    assert re.search(message, diffusion.check_x0_from_v.reply(formula))


def test_the_right_step_is_the_librarys():
    def denoise(sample, timestep):
        return 0.3 * sample + timestep / 1000

    states = list(ddim(denoise, NOISE, KOLORS, 10))
    for now, after in pairwise(states[:-1]):
        signals = [1 / (1 + state.sigma**2) for state in (now, after)]
        found = diffusion.ddim_step(now.sample, denoise(now.sample, torch.tensor(now.timestep)), *signals)
        torch.testing.assert_close(found, after.sample, rtol=1e-4, atol=1e-5)
    assert "all of DDIM" in diffusion.check_ddim_step.reply(diffusion.ddim_step)


def guess(x, e, a):
    return (x - (1 - a) ** 0.5 * e) / a**0.5


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda x, e, a, b: guess(x, e, a), "jump to the end"),
        (lambda x, e, a, b: b**0.5 * guess(x, e, a), "points back to x_t"),
        (lambda x, e, a, b: b**0.5 * guess(x, e, a) + (1 - a) ** 0.5 * e, r"at the \*next\* level"),
        (lambda x, e, a, b: b**0.5 * guess(x, e, b) + (1 - b) ** 0.5 * e, "at the old level"),
        (lambda x, e, a, b: b**0.5 * (x - (1 - a) * e) / a + (1 - b) ** 0.5 * e, "both are roots"),
        (lambda x, e, a, b: b**0.5 * (x - (1 - a) * e) / a**0.5 + (1 - b) ** 0.5 * e, "of the first half"),
        (lambda x, e, a, b: b**0.5 * (x - (1 - a) ** 0.5 * e) / a + (1 - b) ** 0.5 * e, "of the first half"),
        (lambda x, e, a, b: b * guess(x, e, a) + (1 - b) * e, "of the second half"),
        (lambda x, e, a, b: b**0.5 * guess(x, e, a) + (1 - b) * e, "of the second half"),
        (lambda x, e, a, b: b * guess(x, e, a) + (1 - b) ** 0.5 * e, "of the second half"),
        (lambda x, e, a, b: a**0.5 * guess(x, e, b) + (1 - a) ** 0.5 * e, "level are swapped"),
        (lambda x, e, a, b: b**0.5 * (2 * x / a**0.5 - guess(x, e, a)) + (1 - b) ** 0.5 * e, "taken off x_t"),
        (lambda x, e, a, b: b**0.5 * guess(x, e, a) - (1 - b) ** 0.5 * e, "goes back on with a plus"),
        (lambda x, e, a, b: b**0.5 * a**0.5 * guess(x, e, a) + (1 - b) ** 0.5 * e, "divides by √ᾱ"),
        (lambda x, e, a, b: b**0.5 * guess(x, e, 1 - a) + (1 - b) ** 0.5 * e, "Swapped in the first half"),
        (lambda x, e, a, b: guess(x, e, a) + (1 - b) ** 0.5 * e, "taken √ᾱ_next times"),
        (lambda x, e, a, b: b**0.5 * guess(x, e, a) + (1 - b) ** 0.5 * x, "not x_t"),
        (lambda x, e, a, b: b * (x - (1 - a) * e) / a + (1 - b) * e, "in both halves"),
        (lambda x, e, a, b: x, "nothing moves"),
        (lambda x, e, a, b: 2 * x, "the answer is"),
    ],
)
def test_wrong_steps_are_explained(step, message):
    assert re.search(message, diffusion.check_ddim_step.reply(step))
