"""Diffusion: the noise schedule, the samplers that walk it backwards, and guidance.

Samplers are generators that yield every state on the way from noise to picture.
"""

from kolors_course.diffusion.guidance import Conditioning, UNetCall, classifier_free_guidance, guided
from kolors_course.diffusion.samplers import (
    SAMPLERS,
    Denoise,
    Sampler,
    SamplerState,
    dpmpp_2m,
    euler,
    get_sampler,
)
from kolors_course.diffusion.schedule import SPACINGS, NoiseSchedule, init_noise_sigma

__all__ = [
    "SAMPLERS",
    "SPACINGS",
    "Conditioning",
    "Denoise",
    "NoiseSchedule",
    "Sampler",
    "SamplerState",
    "UNetCall",
    "classifier_free_guidance",
    "dpmpp_2m",
    "euler",
    "get_sampler",
    "guided",
    "init_noise_sigma",
]
