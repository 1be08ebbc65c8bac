"""Drawing the same pictures with stock diffusers and with the course's sampler."""

from collections.abc import Callable

import numpy as np
from diffusers import KolorsPipeline

from kolors_course.kolors import Profile, Sampling, generate, initial_latents, load_profile

PROMPTS = [
    "夜晚雪地上的一只兔子",
    "a cat in the city at night",
    "太空中的一枚火箭",
    "a house and a tree on the grass",
]


def samplings(profile: Profile, steps: int) -> dict[str, Callable[[], list]]:
    """Stock KolorsPipeline and our `generate`, from the same latents.

    Raises:
        AssertionError: the pictures differ by more than two grey levels somewhere.
    """
    model = load_profile(profile)
    pipeline = KolorsPipeline.from_pretrained(profile.folder, torch_dtype=model.unet.dtype)
    pipeline.to(model.device)
    pipeline.set_progress_bar_config(disable=True)
    seeds = range(len(PROMPTS))
    latents = initial_latents(model, seeds, profile.size, profile.size)
    options = {"num_inference_steps": steps, "guidance_scale": 5.0}

    def stock() -> list:
        return pipeline(
            PROMPTS, latents=latents.clone(), height=profile.size, width=profile.size, **options
        ).images

    def ours() -> list:
        return generate(model, PROMPTS, seeds, Sampling(steps=steps))

    for theirs, picture in zip(stock(), ours(), strict=True):
        difference = np.abs(np.asarray(theirs, int) - np.asarray(picture, int)).max()
        assert difference <= 2, f"pictures differ by {difference} grey levels"
    return {"stock KolorsPipeline": stock, "ours": ours}
