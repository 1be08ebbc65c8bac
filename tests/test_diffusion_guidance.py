import pytest
import torch

from kolors_course.diffusion import NoiseSchedule, classifier_free_guidance, euler, guided
from kolors_course.errors import CourseError


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
