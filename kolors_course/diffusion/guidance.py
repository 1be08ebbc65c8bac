"""Guidance: trade variety for agreement with the prompt, with a classifier (arXiv 2105.05233) or without
(arXiv 2207.12598).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from kolors_course.diffusion.predictions import broadcast
from kolors_course.diffusion.schedule import NoiseSchedule
from kolors_course.diffusion.states import Denoise
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


def rescale_guidance(noise_guided: Tensor, noise_text: Tensor, rescale: float) -> Tensor:
    """Bring the spread of the guided prediction back to that of the prompt's own (arXiv 2305.08891, section 3.4).

    Strong guidance makes predictions too large, and pictures too bright and saturated.

    Args:
        noise_guided: result of `classifier_free_guidance`, shape (B, ...).
        noise_text: prediction for the prompt, same shape.
        rescale: φ: 0 leaves it as it is, 1 takes all of the correction; the paper recommends 0.7.

    Returns:
        The same shape. Equal to `rescale_noise_cfg` of diffusers.
    """
    dims = tuple(range(1, noise_guided.ndim))
    ratio = noise_text.std(dim=dims, keepdim=True) / noise_guided.std(dim=dims, keepdim=True)
    return torch.lerp(noise_guided, noise_guided * ratio, rescale)


def guided(
    unet_call: UNetCall,
    cond: Conditioning,
    uncond: Conditioning | None,
    guidance_scale: float,
    *,
    rescale: float = 0.0,
    interval: tuple[float, float] | None = None,
) -> Denoise:
    """Make the `denoise` of a sampler from a U-Net and its conditioning.

    Both halves are evaluated as one batch of 2B, unconditional half first, as in the diffusers pipelines. At
    `guidance_scale` <= 1 there is nothing to guide, and only the conditional half is evaluated.

    A negative prompt takes the place of the empty one in `uncond`: the picture is then led away from what it says.

    Args:
        unet_call: `unet_call(sample, timestep, conditioning)` returns the prediction. It is given a
            batch of B or 2B samples and a conditioning of as many rows.
        cond: tensors of B rows by name (such as prompt_embeds, pooled_prompt_embeds, add_time_ids).
        uncond: the same names and shapes for the empty or negative prompt; may be None without guidance.
        guidance_scale: s of `classifier_free_guidance`.
        rescale: φ of `rescale_guidance`.
        interval: (lowest, highest) timestep that is guided; outside, only the conditional half is evaluated. Guidance
            is harmful where the noise is high and largely unnecessary where it is low (arXiv 2404.07724).

    Raises:
        CourseError: guidance is wanted but `uncond` is missing or does not match `cond`, or the interval is empty.
    """
    if guidance_scale <= 1:
        return lambda sample, timestep: unet_call(sample, timestep, cond)
    both = _stack(uncond, cond, guidance_scale)
    lowest, highest = interval or (-torch.inf, torch.inf)
    if not lowest <= highest:
        raise CourseError(f"guidance interval {interval} is empty; give (lowest, highest) timestep")

    def denoise(sample: Tensor, timestep: Tensor) -> Tensor:
        if interval and not lowest <= timestep <= highest:  # looking at it makes the host wait for a GPU
            return unet_call(sample, timestep, cond)
        noise_uncond, noise_text = unet_call(torch.cat([sample, sample]), timestep, both).chunk(2)
        noise = classifier_free_guidance(noise_uncond, noise_text, guidance_scale)
        return rescale_guidance(noise, noise_text, rescale) if rescale else noise

    return denoise


def classifier_guided(
    denoise: Denoise,
    log_probability: Callable[[Tensor, Tensor], Tensor],
    schedule: NoiseSchedule,
    guidance_scale: float,
) -> Denoise:
    """Push samples towards what a classifier calls y: ε̂ = ε - s·√(1-ᾱ)·∇log p(y|x_t) (arXiv 2105.05233, Algorithm 2).

    By Bayes' rule s = 1 with exact parts gives exactly the samples of class y.

    Args:
        denoise: predicts the noise without knowing y.
        log_probability: `log_probability(sample, timestep)` is log p(y|x_t), shape (B,), of a classifier that was
            trained on noisy samples; differentiable.
        schedule: what α and σ mean for both.
        guidance_scale: s; more exaggerates y.

    Returns:
        A `denoise` that predicts guided noise.
    """

    def guided_denoise(sample: Tensor, timestep: Tensor) -> Tensor:
        with torch.enable_grad():
            x = sample.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_probability(x, timestep).sum(), x)
        σ = schedule.sigma(timestep)
        noise_level = broadcast(σ / (σ**2 + 1).sqrt(), sample)
        return (denoise(sample, timestep) - guidance_scale * noise_level * gradient).to(sample.dtype)

    return guided_denoise


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
