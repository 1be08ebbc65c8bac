from .ancestral import Generator, ddim, ddpm, euler_ancestral, reverse_sde
from .betas import BETA_SCHEDULES
from .choices import SAMPLERS, SPACINGS, STOCHASTIC_SAMPLERS
from .consistency import lcm
from .flow import flow_euler, flow_times
from .forward import forward_process, posterior
from .guidance import (
    Conditioning,
    UNetCall,
    classifier_free_guidance,
    classifier_guided,
    guided,
    rescale_guidance,
)
from .inpainting import keep_known
from .multistep import dpmpp_2m, unipc
from .ode import euler, heun, probability_flow
from .paths import init_noise_sigma
from .predictions import (
    PREDICTION_TYPES,
    broadcast,
    convert_prediction,
    score,
    to_x0,
    training_target,
)
from .samplers import Sampler, StochasticSampler, get_sampler
from .schedule import NoiseSchedule
from .states import Denoise, SamplerState

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
    "keep_known",
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
