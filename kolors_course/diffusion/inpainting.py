"""Keep a part of a picture while the rest is drawn, with any model and any sampler."""

import torch
from torch import Tensor

from kolors_course.diffusion.predictions import broadcast, training_target
from kolors_course.diffusion.schedule import NoiseSchedule
from kolors_course.diffusion.states import Denoise


def keep_known(
    denoise: Denoise, known: Tensor, hole: Tensor, schedule: NoiseSchedule, prediction_type: str = "epsilon"
) -> Denoise:
    """A `denoise` that answers with the truth where the picture is known, so that samplers walk there to it.

    In the sample x = αx₀ + σε the noise of a known x₀ is ε = (x - αx₀)/σ. A sampler told this goes along the straight
    line to x₀ and arrives exactly, while the network sees a known part that is as noisy as the rest. With Euler's
    sampler the known part is, after every step, x₀ with its first noise at the next level: what diffusers' inpainting
    pipelines paste in after each step (the idea of arXiv 2201.09865, eq. 8a). Here nothing is pasted, so solvers that
    look at several points work too.

    Args:
        denoise: see `kolors_course.diffusion.samplers`.
        known: x₀ of the picture, of a shape that broadcasts to the sample (B, C, h, w).
        hole: (B, 1, h, w) in 0 … 1: how much of each cell is drawn; 0 keeps it, between both is a mixture.
        schedule: what timesteps mean.
        prediction_type: what `denoise` predicts, one of `PREDICTION_TYPES`.
    """

    def denoise_hole(sample: Tensor, timestep: Tensor) -> Tensor:
        σ = broadcast(schedule.sigma(timestep), sample)
        α = (σ**2 + 1).rsqrt()
        noise = (sample - α * known) / (α * σ)
        truth = training_target(known, noise, α, α * σ, prediction_type)
        return torch.lerp(truth.to(sample.dtype), denoise(sample, timestep), hole.to(sample.dtype))

    return denoise_hole
