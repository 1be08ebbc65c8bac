"""Diffusion: the noise schedule, the samplers that walk it backwards, and guidance.

Samplers are generators that yield every state on the way from noise to picture.
"""

from kolors_course.diffusion.ancestral import Generator, ddim, ddpm, euler_ancestral, reverse_sde
from kolors_course.diffusion.betas import BETA_SCHEDULES
from kolors_course.diffusion.consistency import lcm
from kolors_course.diffusion.flow import flow_euler, flow_times
from kolors_course.diffusion.forward import forward_process, posterior
from kolors_course.diffusion.grids import SPACINGS
from kolors_course.diffusion.guidance import (
    Conditioning,
    UNetCall,
    classifier_free_guidance,
    classifier_guided,
    guided,
    rescale_guidance,
)
from kolors_course.diffusion.multistep import dpmpp_2m, unipc
from kolors_course.diffusion.ode import euler, heun, probability_flow
from kolors_course.diffusion.predictions import (
    PREDICTION_TYPES,
    broadcast,
    convert_prediction,
    score,
    to_x0,
    training_target,
)
from kolors_course.diffusion.samplers import (
    SAMPLERS,
    STOCHASTIC_SAMPLERS,
    Sampler,
    StochasticSampler,
    get_sampler,
)
from kolors_course.diffusion.schedule import NoiseSchedule, init_noise_sigma
from kolors_course.diffusion.states import Denoise, SamplerState

__all__ = [
    "BETA_SCHEDULES",
    "PREDICTION_TYPES",
    "SAMPLERS",
    "SPACINGS",
    "STOCHASTIC_SAMPLERS",
    "Conditioning",
    "Denoise",
    "Generator",
    "NoiseSchedule",
    "Sampler",
    "SamplerState",
    "StochasticSampler",
    "UNetCall",
    "broadcast",
    "classifier_free_guidance",
    "classifier_guided",
    "convert_prediction",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "euler",
    "euler_ancestral",
    "flow_euler",
    "flow_times",
    "forward_process",
    "get_sampler",
    "guided",
    "heun",
    "init_noise_sigma",
    "lcm",
    "posterior",
    "probability_flow",
    "rescale_guidance",
    "reverse_sde",
    "score",
    "to_x0",
    "training_target",
    "unipc",
]
