import pytest
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import rescale_noise_cfg

from kolors_course.diffusion import (
    NoiseSchedule,
    classifier_free_guidance,
    classifier_guided,
    euler,
    guided,
    rescale_guidance,
)
from kolors_course.errors import CourseError
from kolors_course.theory.teachers import eight_gaussians


@pytest.fixture
def noises():
    return torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0)).unbind()


COND = {"prompt_embeds": torch.tensor([[2.0], [3.0]])}
UNCOND = {"prompt_embeds": torch.tensor([[-1.0], [-1.0]])}
SAMPLE = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def recorded_unet(calls):
    def unet_call(sample, timestep, conditioning):
        calls.append((sample, conditioning["prompt_embeds"]))
        return sample * conditioning["prompt_embeds"] + timestep

    return unet_call


@pytest.mark.parametrize("scale", [0.5, 1.5, 5.0, 7.5])
def test_formula_and_its_other_convention(noises, scale):
    uncond, text = noises
    guided_noise = classifier_free_guidance(uncond, text, scale)
    # The two forms differ by float32 rounding of numbers of size `scale`.
    torch.testing.assert_close(guided_noise, uncond + scale * (text - uncond), rtol=1e-5, atol=1e-5)
    w = scale - 1
    torch.testing.assert_close(guided_noise, (1 + w) * text - w * uncond, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_ends_are_exact(noises, dtype):
    uncond, text = (noise.to(dtype) for noise in noises)
    assert torch.equal(classifier_free_guidance(uncond, text, 0.0), uncond)
    assert torch.equal(classifier_free_guidance(uncond, text, 1.0), text)


def test_guided_evaluates_both_halves_in_one_batch():
    calls = []
    epsilon = guided(recorded_unet(calls), COND, UNCOND, guidance_scale=5.0)(SAMPLE, torch.tensor(7.0))
    [(sample, prompt_embeds)] = calls
    assert torch.equal(sample, torch.cat([SAMPLE, SAMPLE]))
    # The unconditional half comes first, as in the diffusers pipelines.
    assert prompt_embeds.flatten().tolist() == [-1, -1, 2, 3]
    uncond, text = -SAMPLE + 7, SAMPLE * torch.tensor([[2.0], [3.0]]) + 7
    torch.testing.assert_close(epsilon, uncond + 5 * (text - uncond))


@pytest.mark.parametrize("scale", [1.0, 0.0])
@pytest.mark.parametrize("uncond", [UNCOND, None])
def test_without_guidance_only_the_prompt_is_evaluated(scale, uncond):
    calls = []
    epsilon = guided(recorded_unet(calls), COND, uncond, scale)(SAMPLE, torch.tensor(7.0))
    [(sample, prompt_embeds)] = calls
    assert torch.equal(sample, SAMPLE)
    assert torch.equal(prompt_embeds, COND["prompt_embeds"])
    assert torch.equal(epsilon, SAMPLE * COND["prompt_embeds"] + 7)


def test_guided_drives_a_sampler():
    """Noise predictors that know the answer, one for each half, must be led to the extrapolated answer."""
    schedule = NoiseSchedule.kolors()

    def unet_call(sample, timestep, conditioning):
        ᾱ = schedule.alphas_cumprod[int(timestep)]
        return (sample - ᾱ.sqrt() * conditioning["prompt_embeds"]) / (1 - ᾱ).sqrt()

    *_, clean = euler(guided(unet_call, COND, UNCOND, 3.0), SAMPLE, schedule, 4)
    # uncond + 3·(cond - uncond) = -1 + 3·3 and -1 + 3·4; float32 at σ ≈ 20 leaves about 1e-5.
    torch.testing.assert_close(clean.sample, torch.tensor([[8.0, 8.0], [11.0, 11.0]]), rtol=1e-4, atol=1e-4)


def test_guidance_without_uncond_is_refused():
    with pytest.raises(CourseError, match="guidance_scale 5"):
        guided(recorded_unet([]), COND, None, 5.0)


@pytest.mark.parametrize("uncond", [{"prompt_embeds": torch.zeros(2, 2)}, {"text_embeds": torch.zeros(2, 1)}])
def test_halves_that_differ_are_refused(uncond):
    with pytest.raises(CourseError, match="uncond has"):
        guided(recorded_unet([]), COND, uncond, 5.0)


# --- Rescaling and intervals ----------------------------------------------------------------------------


@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
def test_rescale_equals_diffusers(noises, rescale):
    uncond, text = noises
    strong = classifier_free_guidance(uncond, text, 7.5)
    expected = rescale_noise_cfg(strong, text, guidance_rescale=rescale)
    torch.testing.assert_close(rescale_guidance(strong, text, rescale), expected, rtol=1e-5, atol=1e-5)


def test_full_rescale_restores_the_spread(noises):
    text = noises[1]
    denoise = guided(
        lambda sample, timestep, cond: sample * cond["by"],
        {"by": torch.full((3, 1, 1, 1), 2.0)},
        {"by": torch.full((3, 1, 1, 1), -1.0)},
        5.0,
        rescale=1.0,
    )
    torch.testing.assert_close(denoise(text, torch.tensor(7.0)).std((1, 2, 3)), (2 * text).std((1, 2, 3)))


def test_guidance_holds_in_its_interval_only():
    calls = []
    denoise = guided(recorded_unet(calls), COND, UNCOND, 5.0, interval=(100, 300))
    for timestep in (301.0, 300.0, 100.0, 99.0):
        denoise(SAMPLE, torch.tensor(timestep))
    assert [len(sample) for sample, _ in calls] == [2, 4, 4, 2]


def test_empty_interval_is_refused():
    with pytest.raises(CourseError, match="interval"):
        guided(recorded_unet([]), COND, UNCOND, 5.0, interval=(300, 100))


# --- Classifier guidance --------------------------------------------------------------------------------


def test_exact_classifier_turns_the_exact_denoiser_into_the_conditional_one():
    """Bayes' rule: ∇log p(x) + ∇log p(y|x) = ∇log p(x|y)."""
    schedule, mixture = NoiseSchedule.kolors(), eight_gaussians()

    def log_probability(sample, timestep):
        σ = schedule.sigma(timestep).to(sample)
        α = 1 / (σ**2 + 1).sqrt()
        return mixture.log_mode(sample, α, α * σ)[:, 3]

    denoise = classifier_guided(mixture.denoiser(schedule), log_probability, schedule, guidance_scale=1.0)
    conditional = mixture.given(3).denoiser(schedule)
    sample = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    for timestep in (1.0, 300.0, 700.0, 1099.0):
        t = torch.tensor(timestep)
        # At t = 1 the two terms are about 40 in size, in float32.
        torch.testing.assert_close(denoise(sample, t), conditional(sample, t), rtol=1e-3, atol=1e-3)
