"""Network calls: planned without a network, and counted with one."""

import pytest
from PIL import Image

from kolors_course.diffusion.choices import SAMPLERS, STOCHASTIC_SAMPLERS
from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate
from kolors_course.kolors.calls import counted_calls, planned_calls


@pytest.mark.parametrize("sampler", [*SAMPLERS, *STOCHASTIC_SAMPLERS])
@pytest.mark.parametrize(("guidance", "denoise"), [(1.0, 1.0), (2.0, 1.0), (2.0, 0.5)])
def test_what_is_planned_is_what_is_counted(tiny_model, sampler, guidance, denoise):
    sampling = Sampling(steps=4, guidance_scale=guidance, sampler=sampler, denoise=denoise, batch_size=2)
    picture = Image.new("RGB", (32, 32)) if denoise < 1 else None
    with counted_calls(tiny_model.unet) as counted:
        generate(tiny_model, ["a cat"] * 3, range(3), sampling, picture=picture)
    steps = 2 if denoise < 1 else 4
    questions = 2 * steps - 1 if sampler == "heun" else steps
    assert planned_calls(sampling) == questions * (2 if guidance > 1 else 1)
    assert counted.calls == 3 * planned_calls(sampling)


def test_counting_ends_with_its_context(tiny_model):
    with counted_calls(tiny_model.unet) as counted:
        pass
    generate(tiny_model, ["a cat"], [0], Sampling(steps=1))
    assert counted.calls == 0
    assert not tiny_model.unet._forward_pre_hooks


def test_what_cannot_be_sampled_has_no_plan():
    with pytest.raises(CourseError, match="timesteps of its own"):
        planned_calls(Sampling(sampler="lcm", spacing="trailing"))
    with pytest.raises(CourseError, match="unknown sampler"):
        planned_calls(Sampling(sampler="magic"))
