from math import sqrt

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from kolors_course.diffusion import (
    SAMPLERS,
    SPACINGS,
    NoiseSchedule,
    dpmpp_2m,
    euler,
    get_sampler,
    heun,
    unipc,
)
from kolors_course.errors import CourseError

CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.014,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1100,
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
KOLORS = NoiseSchedule.kolors()


def toy_denoise(sample, timestep):
    """Not a model of anything: it depends on sample and timestep, and is not linear in the sample."""
    return 0.3 * sample + 0.2 * torch.tanh(sample) + 0.1 * torch.sin(timestep / 100)


@pytest.fixture
def latents():
    return torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(1))


def reference_path(scheduler, latents, steps):
    """The loop of the diffusers pipelines: every model input, then the clean latents."""
    scheduler.set_timesteps(steps)
    latents, path = latents * scheduler.init_noise_sigma, []
    for timestep in scheduler.timesteps:
        sample = scheduler.scale_model_input(latents, timestep)
        path.append(sample)
        latents = scheduler.step(toy_denoise(sample, timestep), timestep, latents).prev_sample
    return [*path, latents]


def assert_same_path(states, reference):
    assert [state.step for state in states] == list(range(len(reference)))
    for state, expected in zip(states, reference, strict=True):
        # Both sides round in float32 at every step; samples have a size of about 1.
        torch.testing.assert_close(state.sample, expected, rtol=1e-5, atol=1e-5)


def every_second(path):
    """Heun's reference has two states for a step: the point itself, and where Euler's step from it lands."""
    return [*path[::2], path[-1]]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 4, 25, 50])
def test_euler_equals_diffusers(latents, steps, spacing):
    scheduler = EulerDiscreteScheduler(**CONFIG | {"timestep_spacing": spacing})
    states = list(euler(toy_denoise, latents, KOLORS, steps, spacing=spacing))
    assert_same_path(states, reference_path(scheduler, latents, steps))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 4, 25, 50])
def test_dpmpp_2m_equals_diffusers(latents, steps, spacing):
    kolors = EulerDiscreteScheduler(**CONFIG | {"timestep_spacing": spacing})
    scheduler = DPMSolverMultistepScheduler.from_config(
        kolors.config, algorithm_type="dpmsolver++", solver_order=2
    )
    states = list(dpmpp_2m(toy_denoise, latents, KOLORS, steps, spacing=spacing))
    assert_same_path(states, reference_path(scheduler, latents, steps))


@pytest.mark.parametrize("steps", [1, 4, 25, 50])
def test_dpmpp_2m_karras_equals_diffusers(latents, steps):
    scheduler = DPMSolverMultistepScheduler.from_config(CONFIG, use_karras_sigmas=True)
    states = list(get_sampler("dpm++2m-karras")(toy_denoise, latents, KOLORS, steps))
    assert_same_path(states, reference_path(scheduler, latents, steps))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 4, 25])
def test_heun_equals_diffusers(latents, steps, spacing):
    scheduler = HeunDiscreteScheduler(**CONFIG | {"timestep_spacing": spacing})
    states = list(heun(toy_denoise, latents, KOLORS, steps, spacing=spacing))
    assert_same_path(states, every_second(reference_path(scheduler, latents, steps)))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 4, 10, 16, 25, 50])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_equals_diffusers(latents, steps, spacing, order):
    scheduler = UniPCMultistepScheduler(**CONFIG | {"timestep_spacing": spacing}, solver_order=order)
    states = list(unipc(toy_denoise, latents, KOLORS, steps, spacing=spacing, solver_order=order))
    assert_same_path(states, reference_path(scheduler, latents, steps))


@pytest.mark.parametrize(
    ("sampler", "scheduler", "kinds"),
    [
        (euler, EulerDiscreteScheduler, ("v_prediction", "sample")),
        (heun, HeunDiscreteScheduler, ("v_prediction", "sample")),
        (dpmpp_2m, DPMSolverMultistepScheduler, ("v_prediction", "sample")),
        (unipc, UniPCMultistepScheduler, ("v_prediction", "sample")),
    ],
)
def test_other_predictions_equal_diffusers(latents, sampler, scheduler, kinds):
    for kind in kinds:
        reference = reference_path(scheduler(**CONFIG, prediction_type=kind), latents, 8)
        states = list(sampler(toy_denoise, latents, KOLORS, 8, prediction_type=kind))
        assert_same_path(states, every_second(reference) if sampler is heun else reference)


def test_zero_terminal_snr_equals_diffusers(latents):
    config = CONFIG | {"timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    scheduler = EulerDiscreteScheduler(**config, rescale_betas_zero_snr=True)
    schedule = KOLORS.zero_terminal_snr()
    states = list(
        euler(toy_denoise, latents, schedule, 10, spacing="trailing", prediction_type="v_prediction")
    )
    assert states[0].sigma == pytest.approx(4096, rel=1e-3)
    # The first steps subtract numbers of size σ = 4096, in float32 on both sides.
    for state, expected in zip(states, reference_path(scheduler, latents, 10), strict=True):
        torch.testing.assert_close(state.sample, expected, rtol=1e-3, atol=1e-3)


def test_sdxl_schedule_equals_diffusers(latents):
    config = CONFIG | {"beta_end": 0.012, "num_train_timesteps": 1000}
    states = list(euler(toy_denoise, latents, NoiseSchedule.sdxl(), 25))
    assert_same_path(states, reference_path(EulerDiscreteScheduler(**config), latents, 25))


def test_euler_is_ddim(latents):
    scheduler = DDIMScheduler(**CONFIG, set_alpha_to_one=True, clip_sample=False)
    states = list(euler(toy_denoise, latents, KOLORS, 25))
    assert_same_path(states, reference_path(scheduler, latents, 25))


def test_pred_original_sample_equals_diffusers(latents):
    scheduler = EulerDiscreteScheduler(**CONFIG)
    scheduler.set_timesteps(4)
    *asked, last = euler(toy_denoise, latents, KOLORS, 4)
    for state, timestep in zip(asked, scheduler.timesteps, strict=True):
        sample = state.sample * sqrt(state.sigma**2 + 1)
        scheduler.scale_model_input(sample, timestep)
        step = scheduler.step(toy_denoise(state.sample, timestep), timestep, sample)
        # x₀ is the difference of numbers of size σ ≈ 25.
        torch.testing.assert_close(
            state.pred_original_sample, step.pred_original_sample, rtol=1e-5, atol=1e-5
        )
    assert torch.equal(last.pred_original_sample, last.sample)


@pytest.mark.parametrize("name", SAMPLERS)
def test_states_describe_the_path(latents, name):
    asked = []

    def denoise(sample, timestep):
        asked.append((sample, timestep))
        return toy_denoise(sample, timestep)

    *noisy, clean = get_sampler(name)(denoise, latents, KOLORS, 6)
    assert len(noisy) == 6
    # Heun asks a second time at the far end of every step but the last.
    asked = asked[::2] if name == "heun" else asked
    for state, (sample, timestep) in zip(noisy, asked, strict=True):
        assert torch.equal(state.sample, sample)
        assert timestep.ndim == 0
        assert timestep.dtype == torch.float32
        assert state.timestep == timestep.item()
        # σ belongs to the timestep; Karras' timesteps are rounded to whole ones.
        at_timestep = KOLORS.sigmas[int(state.timestep)].item()
        assert state.sigma == pytest.approx(at_timestep, rel=0.02 if "karras" in name else 1e-6)
    assert (clean.step, clean.timestep, clean.sigma) == (6, 0, 0)
    sigmas = [state.sigma for state in (*noisy, clean)]
    assert sigmas == sorted(sigmas, reverse=True)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_type_of_the_latents_is_kept(latents, name, dtype):
    states = list(get_sampler(name)(toy_denoise, latents.to(dtype), KOLORS, 8))
    assert {state.sample.dtype for state in states} == {dtype}
    assert {state.pred_original_sample.dtype for state in states} == {dtype}


@pytest.mark.parametrize("name", SAMPLERS)
def test_half_precision_is_only_in_the_model(latents, name):
    """If the predicted noise is always ε, x₀ = x - σε exactly: a small difference of large numbers."""
    latents = latents.bfloat16()
    first, *_, clean = get_sampler(name)(lambda sample, timestep: latents, latents, KOLORS, 8)
    exact = latents.double() * (sqrt(first.sigma**2 + 1) - first.sigma)
    # One rounding to bfloat16 (2⁻⁸ relative) at the end, and float32's at σ ≈ 29 on the way; a path in
    # bfloat16 would be off by about 29·2⁻⁸ = 0.1.
    torch.testing.assert_close(clean.sample.double(), exact, rtol=2**-8, atol=2e-5)


def test_latents_are_not_changed(latents):
    before = latents.clone()
    for name in SAMPLERS:
        list(get_sampler(name)(toy_denoise, latents, KOLORS, 3))
    assert torch.equal(latents, before)


# --- Data where the answer is known; for orders of convergence see test_theory_convergence.py ----------

DATA_STD = 0.5


def gaussian_denoise(sample, timestep):
    """The exact noise prediction E[ε|x_t] for data N(0, s²): √(1-ᾱ)·x / (ᾱ·s² + 1-ᾱ)."""
    ᾱ = KOLORS.alphas_cumprod[int(timestep)].double()
    return (1 - ᾱ).sqrt() * sample / (ᾱ * DATA_STD**2 + 1 - ᾱ)


@pytest.mark.parametrize("name", SAMPLERS)
def test_exact_denoiser_turns_noise_into_data(name):
    # The exact denoiser is linear in the sample, so unit noise 1 must end at one data deviation.
    noise = torch.ones(1, 1, dtype=torch.float64)
    *_, clean = get_sampler(name)(gaussian_denoise, noise, KOLORS, 50)
    # Discretisation error at 50 steps: 5.3 % for Euler, less for the others.
    assert clean.sample.item() == pytest.approx(DATA_STD, rel=0.08)


# --- Bad input ------------------------------------------------------------------------------------------


def test_unknown_sampler_lists_the_names():
    with pytest.raises(CourseError, match=r'"plms".*euler, heun, dpm\+\+2m, dpm\+\+2m-karras'):
        get_sampler("plms")


def test_a_stochastic_sampler_by_name_needs_its_generator(latents):
    with pytest.raises(CourseError, match="give it a generator"):
        get_sampler("ddpm")
    generator = torch.Generator().manual_seed(0)
    states = list(
        get_sampler("ddpm", generator=generator, spacing="trailing")(toy_denoise, latents, KOLORS, 3)
    )
    assert states[0].timestep == KOLORS.num_train_timesteps - 1


@pytest.mark.parametrize("name", ["lcm", "dpm++2m-karras"])
def test_a_sampler_with_its_own_timesteps_has_no_spacing(name):
    with pytest.raises(CourseError, match="timesteps of its own"):
        get_sampler(name, spacing="trailing")


@pytest.mark.parametrize("first_step", [-1, 4])
def test_a_first_step_that_is_not_on_the_path_is_refused(latents, first_step):
    with pytest.raises(CourseError, match=f"first_step {first_step} of 4"):
        next(get_sampler("euler")(toy_denoise, latents, KOLORS, 4, original=latents, first_step=first_step))


def test_steps_are_left_out_only_for_an_original(latents):
    with pytest.raises(CourseError, match="needs a picture as original"):
        next(get_sampler("euler")(toy_denoise, latents, KOLORS, 4, first_step=1))


@pytest.mark.parametrize("name", SAMPLERS)
def test_zero_steps_are_refused(latents, name):
    with pytest.raises(CourseError, match="num_inference_steps is 0"):
        next(get_sampler(name)(toy_denoise, latents, KOLORS, 0))


def test_unknown_prediction_type_is_refused(latents):
    with pytest.raises(CourseError, match="velocity"):
        next(euler(toy_denoise, latents, KOLORS, 4, prediction_type="velocity"))


@pytest.mark.parametrize("sampler", [euler, heun, dpmpp_2m, unipc])
def test_unknown_spacing_is_refused(latents, sampler):
    with pytest.raises(CourseError, match="sideways"):
        next(sampler(toy_denoise, latents, KOLORS, 4, spacing="sideways"))


def test_prediction_of_the_wrong_shape_is_refused(latents):
    with pytest.raises(CourseError, match=r"\(2, 8, 3, 3\).*\(2, 4, 3, 3\)"):
        next(euler(lambda sample, timestep: torch.cat([sample, sample], dim=1), latents, KOLORS, 4))
