"""Classifier-free guidance: trade variety for agreement with the prompt (arXiv 2207.12598)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from kolors_course.diffusion.samplers import Denoise
from kolors_course.errors import CourseError

Conditioning = Mapping[str, Tensor]
UNetCall = Callable[[Tensor, Tensor, Conditioning], Tensor]


def classifier_free_guidance(noise_uncond: Tensor, noise_text: Tensor, guidance_scale: float) -> Tensor:
    """Go from the unconditional prediction towards the conditional one, and past it.

    ε = ε_uncond + s·(ε_text - ε_uncond), with s = `guidance_scale` as in diffusers and Imagen
    (arXiv 2205.11487, eq. 2): s = 0 is exactly unconditional, s = 1 exactly conditional (no guidance).
    The guidance paper itself (arXiv 2207.12598, eq. 6) writes (1+w)·ε_text - w·ε_uncond, so w = s - 1.

    Args:
        noise_uncond: predicted noise for the empty or negative prompt, shape (B, ...).
        noise_text: predicted noise for the prompt, same shape.
        guidance_scale: s; Kolors recommends 5.

    Returns:
        The guided noise, same shape.
    """
    # lerp is this formula, computed so that both ends come out without rounding error.
    return torch.lerp(noise_uncond, noise_text, guidance_scale)


def guided(
    unet_call: UNetCall, cond: Conditioning, uncond: Conditioning | None, guidance_scale: float
) -> Denoise:
    """Make the `denoise` of a sampler from a U-Net and its conditioning.

    Both halves are evaluated as one batch of 2B, unconditional half first, as in the diffusers pipelines. At
    `guidance_scale` <= 1 there is nothing to guide, and only the conditional half is evaluated.

    Args:
        unet_call: `unet_call(sample, timestep, conditioning)` returns the predicted noise. It is given a
            batch of B or 2B samples and a conditioning of as many rows.
        cond: tensors of B rows by name (such as prompt_embeds, pooled_prompt_embeds, add_time_ids).
        uncond: the same names and shapes for the empty or negative prompt; may be None without guidance.
        guidance_scale: s of `classifier_free_guidance`.

    Raises:
        CourseError: guidance is wanted but `uncond` is missing or does not match `cond`.
    """
    if guidance_scale <= 1:
        return lambda sample, timestep: unet_call(sample, timestep, cond)
    both = _stack(uncond, cond, guidance_scale)

    def denoise(sample: Tensor, timestep: Tensor) -> Tensor:
        noise_uncond, noise_text = unet_call(torch.cat([sample, sample]), timestep, both).chunk(2)
        return classifier_free_guidance(noise_uncond, noise_text, guidance_scale)

    return denoise


def _stack(uncond: Conditioning | None, cond: Conditioning, guidance_scale: float) -> Conditioning:
    if uncond is None:
        raise CourseError(
            f"guidance_scale {guidance_scale} needs the conditioning of an empty or negative prompt; "
            "give it as uncond, or set guidance_scale to 1"
        )
    shapes, uncond_shapes = ({name: tuple(t.shape) for name, t in c.items()} for c in (cond, uncond))
    if shapes != uncond_shapes:
        raise CourseError(
            f"cond has {shapes} but uncond has {uncond_shapes}; encode prompt and negative prompt alike"
        )
    return {name: torch.cat([uncond[name], cond[name]]) for name in cond}
