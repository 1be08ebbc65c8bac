"""Samplers that add fresh noise at every step: one noise, many pictures.

Going from σ to a smaller σ', each keeps some of the old noise and draws the rest anew. `ddpm`, `ddim` with η = 1 and
`euler_ancestral` are the same step in three notations. All take a `generator`; a list of them, one for each row,
makes every row independent of its neighbours. `kolors_course.diffusion.steps` says how a sampler is written.
"""

from collections.abc import Sequence

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from kolors_course.diffusion import paths
from kolors_course.diffusion.forward import posterior
from kolors_course.diffusion.steps import Model, Steps, Walk, sampler
from kolors_course.errors import CourseError

Generator = torch.Generator | Sequence[torch.Generator]


@sampler(paths.spaced_whole)
def ddpm(model: Model, x: Tensor, steps: Steps, *, generator: Generator) -> Walk:
    """Ancestral sampling: guess x₀, then draw from q(x_{t-1}|x_t, x₀) (arXiv 2006.11239, Algorithm 2 and eq. 7).

    Equal to `diffusers.DDPMScheduler` without clipping, variance_type "fixed_small".

    Args:
        generator: draws the noise of each step.

    The other arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    x = x / (steps[0].σ ** 2 + 1) ** 0.5  # the paper's scale, √ᾱ·x₀ + √(1-ᾱ)·ε
    for i, σ, σ_next in steps:
        ᾱ, ᾱ_next = 1 / (σ**2 + 1), 1 / (σ_next**2 + 1)
        x0 = yield from model.ask(x / ᾱ**0.5, i)
        mean, std = posterior(x, x0, ᾱ, ᾱ_next)
        x = mean + std * fresh_noise(x, generator)
    return x


@sampler(paths.spaced_whole)
def ddim(
    model: Model, x: Tensor, steps: Steps, *, generator: Generator | None = None, eta: float = 0.0
) -> Walk:
    """DDIM: between the ODE (η = 0) and ancestral sampling (η = 1) (arXiv 2010.02502, eq. 12 and 16).

    Equal to `diffusers.DDIMScheduler` with "leading" spacing, without clipping, set_alpha_to_one. (For other spacings
    diffusers steps by T // N, which does not always lead to the next timestep it looks at.)

    Args:
        generator: draws the noise of each step; not needed for η = 0.
        eta: η, how much of the noise is drawn anew.

    The other arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    x = x / (steps[0].σ ** 2 + 1) ** 0.5  # the paper's scale, √ᾱ·x₀ + √(1-ᾱ)·ε
    for i, σ, σ_next in steps:
        ᾱ, ᾱ_next = 1 / (σ**2 + 1), 1 / (σ_next**2 + 1)
        x0 = yield from model.ask(x / ᾱ**0.5, i)
        ε = (x - ᾱ**0.5 * x0) / (1 - ᾱ) ** 0.5
        std = eta * ((1 - ᾱ_next) / (1 - ᾱ) * (1 - ᾱ / ᾱ_next)) ** 0.5
        x = ᾱ_next**0.5 * x0 + (1 - ᾱ_next - std**2) ** 0.5 * ε
        if eta > 0:
            x = x + std * fresh_noise(x, generator)
    return x


@sampler(paths.spaced)
def euler_ancestral(model: Model, x: Tensor, steps: Steps, *, generator: Generator) -> Walk:
    """Euler's step to a lower noise level than wanted, then fresh noise up to it: "Euler a" of ComfyUI.

    Equal to `diffusers.EulerAncestralDiscreteScheduler`. σ_up² + σ_down² = σ'² as in DDPM.

    Args:
        generator: draws the noise of each step.

    The other arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        σ_up = (σ_next**2 * (σ**2 - σ_next**2) / σ**2) ** 0.5
        σ_down = (σ_next**2 - σ_up**2) ** 0.5
        x = x + (σ_down - σ) * (x - x0) / σ + σ_up * fresh_noise(x, generator)
    return x


@sampler(paths.spaced)
def reverse_sde(model: Model, x: Tensor, steps: Steps, *, generator: Generator) -> Walk:
    """Euler-Maruyama on the reverse-time SDE (arXiv 2011.13456, eq. 6 and Algorithm 2 without its corrector).

    In the sigma scale it is dx = -∇log p(x)·d(σ²) backwards, plus noise of variance d(σ²): twice the ODE's slope, and
    noise that makes up for it, so that both have the same marginals. It needs many steps; the last goes to the clean
    sample that the model sees. Equal to `diffusers.ScoreSdeVeScheduler.step_pred`.

    Args:
        generator: draws the noise of each step.

    The other arguments are those of all samplers: `kolors_course.diffusion.samplers` explains them.
    """
    for i, σ, σ_next in steps:
        x0 = yield from model.ask(x, i)
        score, falls = (x0 - x) / σ**2, σ**2 - σ_next**2
        x = x + falls * score + falls**0.5 * fresh_noise(x, generator) if σ_next > 0 else x0
    return x


def fresh_noise(x: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal noise like `x`, drawn as diffusers draws it.

    Raises:
        CourseError: there is no generator.
    """
    if generator is None:
        raise CourseError("this sampler draws noise on the way; give it a generator")
    generators = generator if isinstance(generator, torch.Generator) else list(generator)
    return randn_tensor(x.shape, generator=generators, device=x.device, dtype=x.dtype)
