"""The open exercise of notebook 03: own samplers are measured, and each likely mistake gets its own explanation."""

import re
from functools import partial
from itertools import pairwise

import pytest
import torch
from own_midpoint import midpoint

from kolors_course.diffusion import NoiseSchedule, dpmpp_2m, euler, heun, paths, unipc
from kolors_course.diffusion.states import SamplerState
from kolors_course.diffusion.steps import sampler
from kolors_course.exercises.own_sampler import check_sampler, remembered_slope
from kolors_course.exercises.walks import MISTAKEN
from kolors_course.theory.convergence import measure_convergence


def runge_kutta(denoise, latents, schedule, num_inference_steps, *, spacing="leading"):
    """Without the decorator; four calls a step, of order 4."""
    timesteps = schedule.timesteps(num_inference_steps, spacing)
    levels = schedule.sigmas_at(timesteps).tolist()
    x = latents * levels[0]

    def slope(x, σ):
        t = torch.tensor(schedule.timestep_of(σ), dtype=torch.float32)
        return denoise(x / (σ**2 + 1) ** 0.5, t)

    for i, (σ, σ_next) in enumerate(pairwise(levels)):
        h, first = σ_next - σ, slope(x, σ)
        yield SamplerState(i, float(timesteps[i]), σ, x / (σ**2 + 1) ** 0.5, x - σ * first)
        if σ_next > 0:
            second = slope(x + h / 2 * first, σ + h / 2)
            third = slope(x + h / 2 * second, σ + h / 2)
            first = (first + 2 * second + 2 * third + slope(x + h * third, σ_next)) / 6
        x = x + h * first
    yield SamplerState(num_inference_steps, 0.0, 0.0, x, x)


@pytest.mark.parametrize(
    ("mine", "order", "calls", "said"),
    [
        pytest.param(remembered_slope, 2, 1, "It is before Heun's", id="adams-bashforth"),
        pytest.param(midpoint, 2, 2, "Measured order 2.0", id="midpoint"),
        pytest.param(runge_kutta, 4, 4, "It is before Heun's", id="runge-kutta"),
        pytest.param(dpmpp_2m, 2, 1, r"It walks as DPM-Solver\+\+\(2M\) does", id="dpm++2m"),
        pytest.param(unipc, 3, 1, "It walks as UniPC does", id="unipc"),
        pytest.param(partial(unipc, solver_order=3), 3, 1, "It is before Heun's", id="unipc-3"),
    ],
)
def test_samplers_that_do_what_is_claimed_are_right(mine, order, calls, said):
    reply = check_sampler.reply(mine, order, calls)
    assert reply.startswith("Right.")
    assert re.search(said, reply)


def test_the_librarys_answer_is_of_the_order_it_claims_on_gaussian_data_too():
    assert measure_convergence(remembered_slope).order == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("mistaken", MISTAKEN, ids=lambda mistaken: mistaken.english[:40])
def test_every_known_wrong_way_is_told(mistaken):
    asked = []
    list(mistaken.walk(lambda x, t: asked.append(t) or x, torch.ones(1, 1), NoiseSchedule.kolors(), 20))
    reply = check_sampler.reply(mistaken.walk, 2, round(len(asked) / 20))
    assert mistaken.english in reply
    assert mistaken.chinese in reply


def slope_walk(change):
    """A sampler whose slope is `change(model, x, x0, i, σ, σ_next, memory)`; memory is a list of its own."""

    @sampler(paths.spaced)
    def walk(model, x, steps):
        memory = []
        for i, σ, σ_next in steps:
            x0 = yield from model.ask(x, i)
            x = x + (σ_next - σ) * change(model, x, x0, i, σ, σ_next, memory)
        return x

    return walk


def forgetful(model, x, x0, i, σ, σ_next, memory):
    """Keeps only the very first slope."""
    ε = (x - x0) / σ
    memory.append((σ, ε))
    return ε + (σ_next - σ) / 2 * (ε - memory[0][1]) / (σ - memory[0][0] or 1)


def off_level(model, x, x0, i, σ, σ_next, memory):
    """Divides the second slope by the first level."""
    ε = (x - x0) / σ
    if not σ_next:
        return ε
    landed = x + (σ_next - σ) * ε
    return (ε + (landed - model.x0(landed, i + 1)) / σ) / 2


def damped(model, x, x0, i, σ, σ_next, memory):
    return 0.9 * (x - x0) / σ


@sampler(paths.spaced)
def empty(model, x, steps):
    return ...


@sampler(paths.spaced)
def without_yield_from(model, x, steps):
    for i, σ, σ_next in steps:
        x0 = model.ask(x, i)
        x = x + (σ_next - σ) * (x - x0) / σ
    return x


@sampler(paths.spaced)
def without_return(model, x, steps):
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        x = x + (σ_next - σ) * (x - x0) / σ


@sampler(paths.spaced)
def misspelt(model, x, steps):
    for i, σ, _ in steps:
        x0 = yield from model.ask(x, i)
        x = x + sigma_next * (x - x0) / σ  # noqa: F821
    return x


@sampler(paths.spaced)
def silent(model, x, steps):
    for i, σ, σ_next in steps:
        x = x + (σ_next - σ) * (x - model.x0(x, i)) / σ
    return x
    yield


@sampler(paths.spaced)
def divides_by_zero(model, x, steps):
    x = yield from remembered_slope.__wrapped__(model, x, steps)
    return x / 0


def bare(model, x, steps):
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        x = x + (σ_next - σ) * (x - x0) / σ
    return x


def of_tensors(denoise, latents, schedule, num_inference_steps, *, spacing="leading"):
    yield latents


@pytest.mark.parametrize(
    ("mine", "order", "calls", "said"),
    [
        (..., 2, 1, "Yours to write"),
        (empty, 2, 1, "Yours to write"),
        (lambda denoise, latents, schedule, steps, *, spacing: ..., 2, 1, "Yours to write"),
        (euler, 1, 1, "That is Euler's"),
        (heun, 2, 2, "That is Heun's"),
        (remembered_slope, 2, 2, "claim 2 network calls a step; 160 steps made 160"),
        (midpoint, 2, 1, "claim 1 network calls a step; 160 steps made 319"),
        (remembered_slope, 3, 1, "You claim order 3; .* order 2.0. With one call a step"),
        (midpoint, 3, 2, "order 2.0. Is the second question"),
        (slope_walk(forgetful), 2, 1, "You claim order 2; .* is the last slope kept"),
        (slope_walk(off_level), 2, 2, "order 1.1. Is the second question"),
        (slope_walk(damped), 1, 1, "More steps do not help"),
        (without_yield_from, 2, 1, "The network is never asked"),
        (without_return, 2, 1, "without_return returned None; end it with the clean sample: return x"),
        (misspelt, 2, 1, "`x = x \\+ sigma_next .*`: NameError: name 'sigma_next' is not defined"),
        (silent, 2, 1, "40 steps have 41 states, the last with σ = 0; yours has 1"),
        (divides_by_zero, 2, 1, "no numbers"),
        (bare, 2, 1, "@sampler\\(paths.spaced\\) above a function"),
        (of_tensors, 2, 1, "yields states"),
        (euler, "two", 1, "not a number"),
        (3, 2, 1, "not a function"),
    ],
)
def test_wrong_samplers_are_explained(mine, order, calls, said):
    reply = check_sampler.reply(mine, order, calls)
    assert not reply.startswith("Right.")
    assert re.search(said, reply), reply
