"""The exercises of notebook 03: right answers pass, and each likely mistake gets its own explanation."""

import math
import re

import pytest
import torch

from kolors_course.diffusion import NoiseSchedule, heun
from kolors_course.exercises import solvers
from kolors_course.theory.convergence import measure_convergence

KOLORS = NoiseSchedule.kolors()


def test_the_right_step_is_the_librarys():
    def denoise(sample, timestep):
        return 0.4 * sample

    def slope(x, sigma):
        return denoise(x / (sigma**2 + 1) ** 0.5, None)

    states = list(heun(denoise, torch.ones(1, 3), KOLORS, 8))
    scaled = [state.sample * (state.sigma**2 + 1) ** 0.5 for state in states]
    for i in range(6):
        found = solvers.heun_step(slope, scaled[i], states[i].sigma, states[i + 1].sigma)
        torch.testing.assert_close(found, scaled[i + 1], rtol=1e-4, atol=1e-5)
    assert "½" in solvers.check_heun_step.reply(solvers.heun_step)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda f, x, a, b: x + (b - a) * f(x, a), "Euler's step"),
        (lambda f, x, a, b: x + (b - a) * f(x + (b - a) * f(x, a), b), "far end alone"),
        (lambda f, x, a, b: x + (b - a) * f(x + (b - a) / 2 * f(x, a), (a + b) / 2), "midpoint"),
        (lambda f, x, a, b: x + (b - a) * (f(x, a) + f(x + (b - a) * f(x, a), b)), "not their sum"),
        (lambda f, x, a, b: x + (b - a) * (f(x, a) + f(x, b)) / 2, "not at x"),
        (lambda f, x, a, b: x + (b - a) * (f(x, a) + f(x + (b - a) * f(x, a), a)) / 2, "sigma_next"),
        (lambda f, x, a, b: x + (a - b) * (f(x, a) + f(x + (a - b) * f(x, a), b)) / 2, "It is negative"),
        (lambda f, x, a, b: (b - a) * (f(x, a) + f(x + (b - a) * f(x, a), b)) / 2, "add it to x"),
        (lambda f, x, a, b: x + (b - a) * (f(x, a) + f(x + f(x, a), b)) / 2, "goes too far"),
        (lambda f, x, a, b: x, "the answer is"),
        (lambda f, x, a, b: None, "gives back None"),
    ],
)
def test_wrong_steps_are_explained(step, message):
    assert re.search(message, solvers.check_heun_step.reply(step))


def test_the_right_order_is_that_of_a_measurement():
    measured = measure_convergence(heun, (20, 40))
    (few, many), (large, small) = measured.steps, measured.errors
    assert solvers.order_of(few, large, many, small) == pytest.approx(measured.order)
    assert "= 2" in solvers.check_order.reply(solvers.order_of)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda n, e, m, f: e / f, "take logarithms"),
        (lambda n, e, m, f: math.log(e / f), "Divide by the logarithm"),
        (lambda n, e, m, f: math.log2(e / f), "may also triple"),
        (lambda n, e, m, f: math.log(f / e) / math.log(m / n), "is positive"),
        (lambda n, e, m, f: (e - f) / (m - n), "unit of the error"),
        (lambda n, e, m, f: (e / f) / (m / n), "ratio of ratios"),
        (lambda n, e, m, f: 1.0, "right is 2"),
        (lambda n, e, m, f: "2", "not a number"),
    ],
)
def test_wrong_orders_are_explained(order, message):
    assert re.search(message, solvers.check_order.reply(order))


@pytest.mark.parametrize("steps", [7, 25, 30, 50])
def test_the_right_start_is_the_schedules(steps):
    for schedule in (KOLORS, NoiseSchedule.sdxl()):
        T = schedule.num_train_timesteps
        assert solvers.leading_start(T, steps) == schedule.timesteps(steps)[0].item()
    assert "1079" in solvers.check_leading_start.reply(solvers.leading_start)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda T, N: T - 1, "trailing"),
        (lambda T, N: (N - 1) * (T // N), "offset is missing: Kolors"),
        (lambda T, N: N * (T // N) + 1, "gaps between them: the first multiple is 0.\n"),
        (lambda T, N: N * (T // N), "And the offset"),
        (lambda T, N: (N - 1) * T / N + 1, "left over"),
        (lambda T, N: round((N - 1) * T / N) + 1, "rounded down"),
        (lambda T, N: T - T // N + 1, "only where N divides T"),
        (lambda T, N: None, "gives back None"),
        (lambda T, N: 1079, r"For \(1100, 30\) the answer is 1079; right is 1045"),
    ],
)
def test_wrong_starts_are_explained(start, message):
    assert re.search(message, solvers.check_leading_start.reply(start))
