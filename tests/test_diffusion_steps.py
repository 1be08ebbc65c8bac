"""A sampler of one's own is its step and one line of a registry."""

from inspect import signature

import pytest
import torch

from kolors_course.diffusion import NoiseSchedule, euler, get_sampler, paths
from kolors_course.diffusion.steps import sampler
from kolors_course.errors import CourseError
from kolors_course.registry import Registry
from kolors_course.theory.convergence import measure_convergence

KOLORS = NoiseSchedule.kolors()


@pytest.fixture
def registered(monkeypatch):
    """As a line of choices.py."""
    monkeypatch.setattr(
        "kolors_course.diffusion.samplers.SAMPLERS", Registry({"mid": "own_midpoint:midpoint"})
    )


@pytest.fixture
def latents():
    return torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_new_sampler_is_of_the_order_that_its_paper_promises(registered):
    assert measure_convergence(get_sampler("mid")).order == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("first_step", [0, 2, 4])
def test_a_new_sampler_starts_from_a_picture(registered, latents, first_step):
    """Where the model sees the same x₀ everywhere, every path is a straight line to it."""
    original, x0 = torch.ones_like(latents), torch.full_like(latents, 3.0)

    def denoise(sample, timestep):
        σ = KOLORS.sigma(timestep)
        return (sample * (σ**2 + 1) ** 0.5 - x0) / σ

    mid = get_sampler("mid", spacing="trailing")
    states = list(mid(denoise, latents, KOLORS, 5, original=original, first_step=first_step))
    assert [state.step for state in states] == list(range(first_step, 6))
    assert states[0].timestep == 1100 * (5 - first_step) / 5 - 1
    start, σ_start = original + states[0].sigma * latents, states[0].sigma
    for state in states:
        exact = x0 + state.sigma / σ_start * (start - x0)
        sample = state.sample * (state.sigma**2 + 1) ** 0.5
        # The timesteps that the model is told are float32: σ is exact to 1e-7 between them.
        torch.testing.assert_close(sample, exact, rtol=1e-5, atol=1e-5)


def test_the_arguments_are_those_of_all_samplers_of_the_path_and_of_the_step(latents):
    @sampler(paths.distilled)
    def damped(model, x, steps, *, damping: float = 1.0):
        """Towards x₀ by a share of the way."""
        for i, _, _ in steps:
            x = x + damping * ((yield from model.ask(x, i)) - x)
        return x

    shared = set(signature(euler).parameters) - {"spacing", "steps_offset"}
    arguments = signature(damped).parameters
    assert set(arguments) == shared | {"original_inference_steps", "damping"}
    assert (arguments["damping"].default, arguments["original_inference_steps"].default) == (1.0, 50)
    assert (damped.__name__, damped.__doc__) == ("damped", "Towards x₀ by a share of the way.")
    first, clean = damped(lambda x, t: x, latents, KOLORS, 1, damping=0.5, original_inference_steps=10)
    assert first.timestep == 1099
    x, x0 = first.sample * (first.sigma**2 + 1) ** 0.5, first.pred_original_sample
    torch.testing.assert_close(clean.sample, x + 0.5 * (x0 - x))


def test_a_misspelt_argument_is_told_at_the_call_and_a_bad_value_at_the_first_state(latents):
    with pytest.raises(TypeError, match=r"euler\(\) got an unexpected keyword argument 'generator'"):
        euler(None, latents, KOLORS, 4, generator=None)
    states = euler(None, latents, KOLORS, 4, spacing="sideways")
    with pytest.raises(CourseError, match="sideways"):
        next(states)


def test_what_a_line_of_the_registry_fixes_cannot_be_chosen(monkeypatch):
    fixed = Registry({"mid-trailing": ("own_midpoint:midpoint", {"spacing": "trailing"})})
    monkeypatch.setattr("kolors_course.diffusion.samplers.SAMPLERS", fixed)
    assert get_sampler("mid-trailing").keywords == {"spacing": "trailing"}
    with pytest.raises(CourseError, match='"mid-trailing" has timesteps of its own'):
        get_sampler("mid-trailing", spacing="linspace")
