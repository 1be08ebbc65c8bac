"""Samplers that draw noise on the way, against diffusers with the same noise."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    ScoreSdeVeScheduler,
)

from kolors_course.diffusion import (
    SPACINGS,
    STOCHASTIC_SAMPLERS,
    NoiseSchedule,
    ddim,
    ddpm,
    euler_ancestral,
    flow_euler,
    lcm,
    reverse_sde,
)
from kolors_course.diffusion.consistency import boundary_scalings
from kolors_course.errors import CourseError

CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.014,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1100,
}
SPACED = CONFIG | {"timestep_spacing": "leading", "steps_offset": 1}
KOLORS = NoiseSchedule.kolors()
PREDICTIONS = ("epsilon", "v_prediction", "sample")


def toy_denoise(sample, timestep):
    """Not a model of anything: it depends on sample and timestep, and is not linear in the sample."""
    return 0.3 * sample + 0.2 * torch.tanh(sample) + 0.1 * torch.sin(timestep / 100)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def latents():
    return torch.randn(2, 4, 3, 3, generator=seeded(1))


def reference_path(scheduler, latents, steps, generator, **options):
    """The loop of the diffusers pipelines: every model input, then the clean latents."""
    scheduler.set_timesteps(steps)
    latents, path = latents * scheduler.init_noise_sigma, []
    for timestep in scheduler.timesteps:
        sample = scheduler.scale_model_input(latents, timestep)
        path.append(sample)
        prediction = toy_denoise(sample, timestep)
        latents = scheduler.step(prediction, timestep, latents, generator=generator, **options).prev_sample
    return [*path, latents]


def assert_same_path(states, reference):
    assert [state.step for state in states] == list(range(len(reference)))
    for state, expected in zip(states, reference, strict=True):
        # Both sides round in float32 at every step; samples have a size of about 1.
        torch.testing.assert_close(state.sample, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 4, 25])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_ddpm_equals_diffusers(latents, steps, spacing, prediction_type):
    options = {"timestep_spacing": spacing, "prediction_type": prediction_type, "clip_sample": False}
    reference = reference_path(DDPMScheduler(**SPACED | options), latents, steps, seeded())
    states = ddpm(
        toy_denoise,
        latents,
        KOLORS,
        steps,
        generator=seeded(),
        spacing=spacing,
        prediction_type=prediction_type,
    )
    assert_same_path(list(states), reference)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("steps", [1, 4, 25])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_ddim_equals_diffusers(latents, steps, eta, prediction_type):
    scheduler = DDIMScheduler(**SPACED, prediction_type=prediction_type, clip_sample=False)
    reference = reference_path(scheduler, latents, steps, seeded(), eta=eta)
    options = {"generator": seeded(), "eta": eta, "prediction_type": prediction_type}
    assert_same_path(list(ddim(toy_denoise, latents, KOLORS, steps, **options)), reference)


def test_ddim_that_draws_noise_needs_a_generator():
    latents = torch.zeros(1, 4, 8, 8)
    with pytest.raises(CourseError, match="give it a generator"):
        list(ddim(toy_denoise, latents, KOLORS, 4, eta=1.0))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 4, 25])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_euler_ancestral_equals_diffusers(latents, steps, spacing, prediction_type):
    config = SPACED | {"timestep_spacing": spacing, "prediction_type": prediction_type}
    reference = reference_path(EulerAncestralDiscreteScheduler(**config), latents, steps, seeded())
    options = {"generator": seeded(), "spacing": spacing, "prediction_type": prediction_type}
    assert_same_path(list(euler_ancestral(toy_denoise, latents, KOLORS, steps, **options)), reference)


def test_three_notations_of_one_step(latents):
    """DDPM, DDIM with η = 1 and Euler's ancestral step are the same, given the same noise."""
    options = {"generator": seeded(), "spacing": "leading"}
    first = list(ddpm(toy_denoise, latents, KOLORS, 12, **options))
    for sampler, extra in ((ddim, {"eta": 1.0}), (euler_ancestral, {})):
        other = sampler(toy_denoise, latents, KOLORS, 12, **options | {"generator": seeded()} | extra)
        assert_same_path(list(other), [state.sample for state in first])


def test_reverse_sde_equals_diffusers(latents):
    """One step after another, because diffusers has another grid of noise levels."""
    states = list(reverse_sde(toy_denoise, latents, KOLORS, 8, generator=seeded()))
    scheduler, generator = ScoreSdeVeScheduler(), seeded()
    scheduler.set_timesteps(8)
    scheduler.discrete_sigmas = torch.tensor([state.sigma for state in states[-2::-1]])
    x = latents * (states[0].sigma ** 2 + 1) ** 0.5
    # diffusers goes on to σ = 0 by the same formula, where ours takes the clean sample.
    for i, state in enumerate(states[:-2]):
        score = -toy_denoise(state.sample, torch.tensor(state.timestep)) / state.sigma
        time = torch.tensor((7 - i) / 7 + 1e-6)
        x = scheduler.step_pred(score, time, x, generator=generator).prev_sample
        expected = x / (states[i + 1].sigma ** 2 + 1) ** 0.5
        torch.testing.assert_close(states[i + 1].sample, expected, rtol=2e-5, atol=2e-5)
    assert torch.equal(states[-1].sample, states[-2].pred_original_sample)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_lcm_equals_diffusers(latents, steps, prediction_type):
    scheduler = LCMScheduler(**CONFIG, prediction_type=prediction_type)
    reference = reference_path(scheduler, latents, steps, seeded())
    options = {"generator": seeded(), "prediction_type": prediction_type}
    assert_same_path(list(lcm(toy_denoise, latents, KOLORS, steps, **options)), reference)


def test_consistency_holds_at_the_boundary():
    assert boundary_scalings(0.0) == (1.0, 0.0)
    assert boundary_scalings(500.0) == pytest.approx((0, 1), abs=1e-7)


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_exact_consistency_function_needs_one_step(steps):
    """For data N(0, s²) the ODE leads from x to x·s/√(s²+σ²); jumping there, any number of times, gives N(0, s²)."""
    std = 0.5

    def jump(sample, timestep):
        σ = KOLORS.sigma(timestep).item()
        return sample * (σ**2 + 1) ** 0.5 * std / (std**2 + σ**2) ** 0.5

    noise = torch.randn(40_000, 1, generator=seeded(2))
    *_, last = lcm(jump, noise, KOLORS, steps, generator=seeded(3), prediction_type="sample")
    # 40 000 draws tell a deviation to 0.35 %; the first state is unit noise where noisy data have 0.9995.
    assert last.sample.std().item() == pytest.approx(std, rel=0.015)


@pytest.mark.parametrize("name", STOCHASTIC_SAMPLERS)
def test_a_list_of_generators_makes_rows_independent(latents, name):
    sampler = STOCHASTIC_SAMPLERS[name]
    *_, both = sampler(toy_denoise, latents, KOLORS, 5, generator=[seeded(7), seeded(8)])
    *_, second = sampler(toy_denoise, latents[1:], KOLORS, 5, generator=[seeded(8)])
    assert torch.equal(both.sample[1:], second.sample)
    *_, other = sampler(toy_denoise, latents[1:], KOLORS, 5, generator=seeded(9))
    assert not torch.equal(other.sample, second.sample)


@pytest.mark.parametrize("name", STOCHASTIC_SAMPLERS)
def test_type_of_the_latents_is_kept(latents, name):
    states = list(STOCHASTIC_SAMPLERS[name](toy_denoise, latents.bfloat16(), KOLORS, 4, generator=seeded()))
    assert {state.sample.dtype for state in states} == {torch.bfloat16}
    assert states[-1].sigma == states[-1].timestep == 0
    assert [state.step for state in states] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", STOCHASTIC_SAMPLERS)
def test_zero_steps_are_refused(latents, name):
    with pytest.raises(CourseError, match="num_inference_steps is 0"):
        next(STOCHASTIC_SAMPLERS[name](toy_denoise, latents, KOLORS, 0, generator=seeded()))


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 4, 28])
def test_flow_euler_equals_diffusers(latents, steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
    x, reference = latents, []
    for timestep in scheduler.timesteps:
        reference.append(x)
        # The reference counts time from 0 to 1000.
        x = scheduler.step(toy_denoise(x, timestep / 1000), timestep, x).prev_sample
    assert_same_path(list(flow_euler(toy_denoise, latents, steps, shift=shift)), [*reference, x])


def test_flow_on_a_straight_path_is_exact_in_one_step(latents):
    clean = torch.full_like(latents, 3.0)
    states = list(flow_euler(lambda x, t: latents - clean, latents, 1))
    torch.testing.assert_close(states[-1].sample, clean)
    torch.testing.assert_close(states[0].pred_original_sample, clean)


def test_bad_shift_is_refused(latents):
    with pytest.raises(CourseError, match="shift is 0"):
        next(flow_euler(toy_denoise, latents, 4, shift=0))
