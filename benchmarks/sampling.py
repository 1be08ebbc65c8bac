"""Drawing the same pictures with stock diffusers and with the course's sampler."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch._inductor.config as inductor
from diffusers import EulerDiscreteScheduler, KolorsPipeline

from kolors_course.errors import CourseError
from kolors_course.kolors import Profile, Sampling, generate, initial_latents, load_profile

STOCK, OURS = "stock KolorsPipeline", "ours"
PROMPTS = [
    "夜晚雪地上的一只兔子",
    "a cat in the city at night",
    "太空中的一枚火箭",
    "a house and a tree on the grass",
]


def samplings(profile: Profile, sampling: Sampling, compiled: bool) -> dict[str, Callable[[], list]]:
    """Stock KolorsPipeline and our `generate`, from the same latents, with the same steps and guidance.

    Args:
        compiled: both once more, with a U-Net compiled by `torch.compile`.

    Raises:
        CourseError: the sampler is not Euler.
    """
    if sampling.sampler != "euler":
        raise CourseError(f"only euler is compared with the stock pipeline, not {sampling.sampler}")
    model = load_profile(profile)
    pipeline = KolorsPipeline.from_pretrained(profile.folder, torch_dtype=model.unet.dtype)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing=sampling.spacing
    )
    pipeline.to(model.device)
    seeds = range(len(PROMPTS))
    latents = initial_latents(model, seeds, profile.size, profile.size)
    options = {"num_inference_steps": sampling.steps, "guidance_scale": sampling.guidance_scale}

    def stock(pipeline: KolorsPipeline) -> list:
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(
            PROMPTS, latents=latents.clone(), height=profile.size, width=profile.size, **options
        ).images

    def ours(unet: torch.nn.Module) -> list:
        return generate(replace(model, unet=unet), PROMPTS, seeds, sampling)

    jobs = {STOCK: lambda: stock(pipeline), OURS: lambda: ours(model.unet)}
    if compiled:
        fast = KolorsPipeline(**pipeline.components, force_zeros_for_empty_prompt=False)
        fast.unet, unet = (_compiled(each) for each in (pipeline.unet, model.unet))
        jobs |= {f"{STOCK}, compiled": lambda: stock(fast), f"{OURS}, compiled": lambda: ours(unet)}
    return jobs


def _compiled(unet: torch.nn.Module) -> Any:
    # For the whole process: as an option of one compilation it gains a third as much.
    inductor.freezing = True
    return torch.compile(unet, dynamic=False)


def first_calls(jobs: Mapping[str, Callable[[], list]]) -> dict[str, float]:
    """Seconds of the first call of each job; a compiled one compiles in it.

    Raises:
        AssertionError: the pictures differ by more than two grey levels somewhere.
    """
    seconds, drawn = {}, {}
    for name, job in jobs.items():
        started = time.perf_counter()
        drawn[name] = np.stack([np.asarray(picture, int) for picture in job()])
        seconds[name] = time.perf_counter() - started
        difference = np.abs(drawn[name] - drawn[STOCK]).max()
        assert difference <= 2, f"{name}: pictures differ by {difference} grey levels"
    return seconds
