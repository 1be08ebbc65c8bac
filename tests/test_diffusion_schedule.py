import dataclasses

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, LCMScheduler
from diffusers.training_utils import compute_snr

from kolors_course.diffusion import (
    BETA_SCHEDULES,
    PREDICTION_TYPES,
    SPACINGS,
    NoiseSchedule,
    forward_process,
    init_noise_sigma,
)
from kolors_course.errors import CourseError

# Kolors' own scheduler_config.json, as far as it describes the noise and its sampling.
KOLORS = {
    "beta_start": 0.00085,
    "beta_end": 0.014,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1100,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "trained_betas": None,
}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 4, 3, 5, 5, generator=generator).unbind()
    return x0, noise, torch.tensor([0, 1, 500, 1099])


def test_kolors_facts():
    schedule = NoiseSchedule.kolors()
    assert schedule.num_train_timesteps == 1100
    assert schedule.alphas_cumprod[-1].item() == pytest.approx(0.0011827, abs=1e-7)
    assert schedule.snr[-1].item() == pytest.approx(0.001184, abs=1e-6)
    assert schedule.sigmas[-1].item() == pytest.approx(29.06, abs=0.005)
    timesteps = schedule.timesteps(50)
    assert timesteps[0] == 1079
    assert schedule.sigmas_at(timesteps)[0].item() == pytest.approx(25.28, abs=0.005)
    assert schedule.multistep_timesteps(50)[0] == 1051


def test_sdxl_facts():
    schedule = NoiseSchedule.sdxl()
    assert schedule.num_train_timesteps == 1000
    assert schedule.alphas_cumprod[-1].item() == pytest.approx(0.00466, abs=5e-6)
    assert schedule.sigmas[-1].item() == pytest.approx(14.61, abs=0.005)


@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
def test_config_gives_the_reference_schedule(beta_schedule):
    config = KOLORS | {"beta_schedule": beta_schedule}
    reference = EulerDiscreteScheduler(**config)
    schedule = NoiseSchedule.from_scheduler_config(reference.config)
    assert torch.equal(schedule.alphas_cumprod, reference.alphas_cumprod)
    # Before set_timesteps, the reference lists every training sigma, falling, and a final 0.
    assert torch.equal(schedule.sigmas, reference.sigmas[:-1].flip(0))


def test_named_schedules_equal_their_configs():
    kolors = NoiseSchedule.from_scheduler_config(KOLORS)
    sdxl = NoiseSchedule.from_scheduler_config(KOLORS | {"beta_end": 0.012, "num_train_timesteps": 1000})
    assert torch.equal(NoiseSchedule.kolors().alphas_cumprod, kolors.alphas_cumprod)
    assert torch.equal(NoiseSchedule.sdxl().alphas_cumprod, sdxl.alphas_cumprod)
    linear, cosine = DDPMScheduler(), DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    assert torch.equal(NoiseSchedule.linear().alphas_cumprod, linear.alphas_cumprod)
    assert torch.equal(NoiseSchedule.cosine().alphas_cumprod, cosine.alphas_cumprod)


def test_zero_terminal_snr_equals_the_reference():
    reference = EulerDiscreteScheduler(**KOLORS | {"rescale_betas_zero_snr": True})
    schedule = NoiseSchedule.kolors().zero_terminal_snr()
    assert torch.equal(schedule.alphas_cumprod, reference.alphas_cumprod)
    assert schedule.snr[-1] < 1e-7
    assert schedule.alphas_cumprod[0] == pytest.approx(NoiseSchedule.kolors().alphas_cumprod[0].item())


def test_betas_equal_the_reference():
    torch.testing.assert_close(
        NoiseSchedule.kolors().betas, DDPMScheduler.from_config(KOLORS).betas, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("steps", [1, 4, 7, 50])
@pytest.mark.parametrize("original", [50, 60])
def test_consistency_grid_equals_the_reference(steps, original):
    reference = LCMScheduler.from_config(KOLORS)
    reference.set_timesteps(steps, original_inference_steps=original)
    timesteps = NoiseSchedule.kolors().consistency_timesteps(steps, original)
    assert torch.equal(timesteps, reference.timesteps.float())


@pytest.mark.parametrize("numbers", [(51, 50), (4, 1101), (0, 50)])
def test_bad_consistency_grids_are_refused(numbers):
    with pytest.raises(CourseError, match="num_inference_steps"):
        NoiseSchedule.kolors().consistency_timesteps(*numbers)


def test_sigma_and_timestep_undo_each_other():
    schedule = NoiseSchedule.kolors()
    timesteps = torch.tensor([[0.0, 0.5], [500.25, 1099.0]])
    sigma = schedule.sigma(timesteps)
    assert sigma.shape == timesteps.shape
    assert sigma[1, 1] == schedule.sigmas[-1]
    # Written as float32, σ's own distance between timesteps is about 0.05 % of it.
    assert [schedule.timestep_of(s) for s in sigma.flatten().tolist()] == pytest.approx(
        timesteps.flatten().tolist()
    )


def test_forward_process_reaches_what_the_jump_says():
    schedule, x0 = NoiseSchedule.sdxl(), torch.full((40_000,), 2.0)
    path = list(forward_process(x0, schedule, generator=torch.Generator().manual_seed(0)))
    assert len(path) == 1000
    for t in (0, 200, 999):
        ᾱ = schedule.alphas_cumprod[t].item()
        # Errors of a mean and a standard deviation of 40 000 draws: 0.5 % and 0.35 % of the deviation.
        assert path[t].mean().item() == pytest.approx(2 * ᾱ**0.5, abs=0.02 * (1 - ᾱ) ** 0.5)
        assert path[t].std().item() == pytest.approx((1 - ᾱ) ** 0.5, rel=0.015)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 4, 7, 25, 50, 98, 333])
def test_grids_equal_the_reference(spacing, steps):
    schedule = NoiseSchedule.kolors()
    euler = EulerDiscreteScheduler(**KOLORS | {"timestep_spacing": spacing})
    multistep = DPMSolverMultistepScheduler.from_config(euler.config)
    euler.set_timesteps(steps)
    multistep.set_timesteps(steps)

    timesteps = schedule.timesteps(steps, spacing, steps_offset=1)
    sigmas = schedule.sigmas_at(timesteps)
    assert torch.equal(timesteps, euler.timesteps)
    assert torch.equal(sigmas, euler.sigmas)
    # The reference works in float32, hence the last digits.
    assert init_noise_sigma(sigmas[0].item(), spacing) == pytest.approx(
        float(euler.init_noise_sigma), rel=1e-6
    )

    timesteps = schedule.multistep_timesteps(steps, spacing, steps_offset=1)
    assert torch.equal(timesteps, multistep.timesteps.float())
    assert torch.equal(schedule.sigmas_at(timesteps), multistep.sigmas)


@pytest.mark.parametrize("steps", [1, 2, 4, 25, 50, 333])
def test_karras_grid_equals_the_reference(steps):
    reference = DPMSolverMultistepScheduler.from_config(KOLORS, use_karras_sigmas=True)
    reference.set_timesteps(steps)
    timesteps, sigmas = NoiseSchedule.kolors().karras_timesteps(steps)
    assert torch.equal(timesteps, reference.timesteps.float())
    torch.testing.assert_close(sigmas, reference.sigmas, rtol=1e-6, atol=0)


def test_trailing_gives_as_many_steps_as_asked():
    # diffusers gives one too many here, at timestep -1: a rounded step width in np.arange.
    reference = EulerDiscreteScheduler(**KOLORS | {"timestep_spacing": "trailing"})
    reference.set_timesteps(15)
    timesteps = NoiseSchedule.kolors().timesteps(15, "trailing")
    assert len(timesteps) == 15
    assert torch.equal(timesteps, reference.timesteps[:15])


def test_add_noise_equals_ddpm(batch):
    x0, noise, timesteps = batch
    reference = DDPMScheduler.from_config(KOLORS)
    noisy = NoiseSchedule.kolors().add_noise(x0, noise, timesteps)
    torch.testing.assert_close(noisy, reference.add_noise(x0, noise, timesteps), rtol=1e-6, atol=1e-6)


def test_add_noise_equals_euler_up_to_scale(batch):
    x0, noise, timesteps = batch
    schedule, reference = NoiseSchedule.kolors(), EulerDiscreteScheduler(**KOLORS)
    scale = (schedule.sigmas[timesteps] ** 2 + 1).sqrt().view(-1, 1, 1, 1)
    noisy = schedule.add_noise(x0, noise, timesteps) * scale
    # σ reaches 29, and the products are rounded in float32.
    torch.testing.assert_close(noisy, reference.add_noise(x0, noise, timesteps.float()), rtol=1e-5, atol=1e-5)


def test_add_noise_in_half_precision_keeps_type_and_accuracy(batch):
    x0, noise, timesteps = (tensor.half() if tensor.is_floating_point() else tensor for tensor in batch)
    schedule = NoiseSchedule.kolors()
    noisy = schedule.add_noise(x0, noise, timesteps)
    assert noisy.dtype == torch.float16
    # One rounding to half precision (2⁻¹¹ relative) is all that may separate it from float32.
    exact = schedule.add_noise(x0.float(), noise.float(), timesteps)
    torch.testing.assert_close(noisy.float(), exact, rtol=2**-11, atol=1e-6)


def test_conversions_undo_add_noise(batch):
    x0, noise, timesteps = batch[0].double(), batch[1].double(), batch[2]
    schedule = NoiseSchedule.kolors()
    noisy = schedule.add_noise(x0, noise, timesteps)
    said = {kind: schedule.target(x0, noise, timesteps, kind) for kind in PREDICTION_TYPES}
    assert torch.equal(said["epsilon"], noise)
    assert torch.equal(said["sample"], x0)
    for source in PREDICTION_TYPES:
        for target in PREDICTION_TYPES:
            converted = schedule.convert(said[source], noisy, timesteps, source, target)
            torch.testing.assert_close(converted, said[target])


def test_v_target_equals_ddpm(batch):
    x0, noise, timesteps = batch
    v = NoiseSchedule.kolors().target(x0, noise, timesteps, "v_prediction")
    expected = DDPMScheduler.from_config(KOLORS).get_velocity(x0, noise, timesteps)
    torch.testing.assert_close(v, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weight(gamma):
    schedule, timesteps = NoiseSchedule.kolors(), torch.arange(1100)
    snr = compute_snr(DDPMScheduler.from_config(KOLORS), timesteps)
    expected = torch.minimum(snr, torch.full_like(snr, gamma)) / snr
    weight = schedule.min_snr_weight(timesteps, gamma)
    # At t = 0 the reference takes (√ᾱ/√(1-ᾱ))², which costs a few more roundings.
    torch.testing.assert_close(weight, expected, rtol=1e-5, atol=0)
    assert weight[-1] == 1
    assert weight[0].item() == pytest.approx(gamma * 0.00085, rel=1e-3)  # SNR_0 = (1-β_0)/β_0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"beta_schedule": "sigmoid"}, "sigmoid"),
        ({"prediction_type": "v_prediction"}, "prediction_type"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas"),
        ({"beta_end": 1.5}, "beta_end 1.5"),
        ({"beta_start": "0.00085"}, "beta_start '0.00085'"),
        ({"num_train_timesteps": 0}, "num_train_timesteps is 0"),
    ],
)
def test_bad_config_is_refused(change, words):
    with pytest.raises(CourseError, match=words):
        NoiseSchedule.from_scheduler_config(KOLORS | change)


def test_config_without_a_key_is_refused():
    config = {key: value for key, value in KOLORS.items() if key != "beta_end"}
    with pytest.raises(CourseError, match="lacks beta_end"):
        NoiseSchedule.from_scheduler_config(config)


@pytest.mark.parametrize(
    "alphas_cumprod", [torch.tensor([0.9, 0.95]), torch.tensor([0.9, 0.0]), torch.ones(2, 2), torch.arange(3)]
)
def test_bad_alphas_cumprod_is_refused(alphas_cumprod):
    with pytest.raises(CourseError, match="alphas_cumprod"):
        NoiseSchedule(alphas_cumprod)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((50, "sideways"), 'unknown timestep spacing "sideways"; choose one of leading, trailing, linspace'),
        ((0,), "num_inference_steps is 0"),
        ((2.5,), "num_inference_steps is 2.5"),
        ((1101,), "1101 timesteps do not fit"),
        ((1100, "leading", 1), "1100 timesteps do not fit"),  # the first would be 1100
        ((50, "leading", -1), "do not fit"),  # the last would be -1
    ],
)
def test_bad_timestep_grids_are_refused(arguments, words):
    with pytest.raises(CourseError, match=words):
        NoiseSchedule.kolors().timesteps(*arguments)


@pytest.mark.parametrize(
    ("timesteps", "words"),
    [
        (torch.tensor([0, 1, 2, 1100]), "0 to 1099"),
        (torch.tensor([0, 1, 2, -1]), "from -1 to 2"),
        (torch.tensor([0.0, 1.0, 2.0, 3.0]), "float32"),
        (torch.tensor([0, 1]), "2 timesteps for 4 samples"),
        (torch.tensor([[0], [1], [2], [3]]), "shape"),
    ],
)
def test_bad_training_timesteps_are_refused(batch, timesteps, words):
    with pytest.raises(CourseError, match=words):
        NoiseSchedule.kolors().add_noise(batch[0], batch[1], timesteps)


def test_bad_gamma_is_refused():
    with pytest.raises(CourseError, match="gamma is 0"):
        NoiseSchedule.kolors().min_snr_weight(torch.tensor([3]), gamma=0)


def test_schedule_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NoiseSchedule.kolors().alphas_cumprod = torch.ones(3)
