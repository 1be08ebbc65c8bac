"""What a sampler asks: the U-Net with prompts, guidance and all that steers it besides."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kolors_course.diffusion import Conditioning, Denoise, convert_prediction, guided, keep_known
from kolors_course.errors import CourseError
from kolors_course.kolors.control import Control, Residuals, control_residuals
from kolors_course.kolors.inpainting import Hole, check_channels
from kolors_course.kolors.model import KolorsModel
from kolors_course.kolors.prompts import PromptEmbeds, join
from kolors_course.kolors.settings import Sampling
from kolors_course.kolors.stages import StagedPrompts, first_timesteps, switched
from kolors_course.kolors.unet import conditioning_of, time_ids, unet_noise


@dataclass(frozen=True, eq=False)
class Steering:
    """What steers a batch besides its prompts.

    Attributes:
        hole: what of a picture is drawn; the rest is kept.
        controls: their residuals are added together.
    """

    hole: Hole | None = None
    controls: tuple[Control, ...] = ()


def prompt_denoiser(
    model: KolorsModel,
    prompts: PromptEmbeds | StagedPrompts,
    negative: PromptEmbeds | StagedPrompts | None,
    sampling: Sampling,
    latent_size: tuple[int, int],
    prediction_type: str = "epsilon",
    steering: Steering | None = None,
) -> Denoise:
    """The guided `denoise` of a sampler for a batch of prompts; any sampler of `kolors_course.diffusion` takes it.

    At a guidance scale of 1 or less `negative` has no part in it, and may be None.

    Args:
        prompts, negative: B of each. Where they change on the way, `sampling` says which step is when.
        latent_size: (h, w) of the latents.
        prediction_type: how the predicted noise is put before it is guided, one of `PREDICTION_TYPES`. Guidance is
            the same in every way of putting it; its rescale is not. The sampler must be told the same.

    Raises:
        CourseError: guidance without a negative prompt, or a U-Net made for inpainting without a hole.
    """
    steering = steering or Steering()
    hole = steering.hole
    check_channels(model, hole is not None)
    if sampling.guidance_scale <= 1:
        negative = None
    elif negative is None:
        raise CourseError(f"guidance {sampling.guidance_scale:g} needs a negative prompt, even an empty one")
    shares = sorted({*prompts.shares, *(() if negative is None else negative.shares)})
    controls = _Controls(model, steering.controls, sampling, latent_size, len(prompts))
    stages = [
        _stage_denoiser(
            model,
            prompts.at(share),
            None if negative is None else negative.at(share),
            sampling,
            latent_size,
            prediction_type,
            hole,
            controls,
        )
        for share in shares
    ]
    starts = first_timesteps(shares, sampling, model.schedule) if len(shares) > 1 else [math.inf]
    denoise = switched(stages, starts)
    if hole is None or hole.channels is not None:
        return denoise
    return keep_known(denoise, hole.known, hole.cells, model.schedule, prediction_type)


def _stage_denoiser(
    model: KolorsModel,
    prompts: PromptEmbeds,
    negative: PromptEmbeds | None,
    sampling: Sampling,
    latent_size: tuple[int, int],
    prediction_type: str,
    hole: Hole | None,
    controls: "_Controls",
) -> Denoise:
    """`prompt_denoiser` of prompts that do not change; guided if there is a negative one."""
    height, width = (side * model.vae_scale_factor for side in latent_size)
    ids = time_ids(height, width).to(model.device, model.unet.dtype).expand(len(prompts), -1)
    both = join([prompts] if negative is None else [prompts, negative])
    cond = conditioning_of(both.rows(slice(0, len(prompts))), ids)
    uncond = conditioning_of(both.rows(slice(len(prompts), None)), ids) if negative is not None else None
    if hole is not None and hole.channels is not None:
        for conditioning in filter(None, (cond, uncond)):
            conditioning["hole"] = hole.channels.expand(len(prompts), -1, -1, -1)

    memories: dict[int, dict[Any, Any]] = defaultdict(dict)

    def call(sample: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        memory = memories[id(conditioning)]
        residuals = controls(sample, timestep, conditioning, memory)
        noise = unet_noise(model, sample, timestep, conditioning, memory, residuals)
        if prediction_type == "epsilon":
            return noise
        σ = float(model.schedule.sigma(timestep))
        α = (σ**2 + 1) ** -0.5
        return convert_prediction(noise, sample, α, α * σ, "epsilon", prediction_type)

    return guided(
        call,
        cond,
        uncond,
        sampling.guidance_scale,
        rescale=sampling.guidance_rescale,
        interval=sampling.guidance_interval,
    )


class _Controls:
    """The controls of a batch of `count` pictures, each with its pixels and the timesteps at which it is asked."""

    def __init__(
        self,
        model: KolorsModel,
        controls: tuple[Control, ...],
        sampling: Sampling,
        latent_size: tuple[int, int],
        count: int,
    ):
        height, width = (side * model.vae_scale_factor for side in latent_size)
        for control in controls:
            if len(control.pictures) not in (1, count):
                raise CourseError(
                    f"{count} pictures are drawn, and a control has {len(control.pictures)}; give one for all, or "
                    "one for each"
                )
        self.count = count
        self.parts = [
            (control, control.pixels((width, height)), control.window(sampling, model.schedule))
            for control in controls
            if control.scale
        ]

    def __call__(
        self, sample: Tensor, timestep: Tensor, conditioning: Conditioning, memory: dict[Any, Any]
    ) -> Residuals | None:
        """What they add at one call, in which the half without the prompt comes first if it is there."""
        if not self.parts:
            return None
        t = float(timestep)
        # Timesteps are told in float32.
        due = [
            (control, pixels)
            for control, pixels, (high, below) in self.parts
            if high + 1e-3 >= t > below + 1e-3
        ]
        plain = [pair for pair in due if not pair[0].guess]
        guessing = [pair for pair in due if pair[0].guess]
        parts = [control_residuals(plain, sample, timestep, conditioning, memory)] if plain else []
        if guessing:
            parts.append(self._guessed(guessing, sample, timestep, conditioning))
        return parts[0] + parts[1] if len(parts) == 2 else next(iter(parts), None)

    def _guessed(
        self,
        due: list[tuple[Control, Tensor]],
        sample: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
    ) -> Residuals:
        """Of the half with the prompt only."""
        before = len(sample) - self.count
        told = {name: tensor[before:] for name, tensor in conditioning.items()}
        return control_residuals(due, sample[before:], timestep, told).below_zeros(before)
