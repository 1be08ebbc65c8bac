"""The noise schedules that models are trained with, as ᾱ_t: the share of the variance that is still signal."""

from math import cos, pi
from numbers import Integral

import torch
from torch import Tensor

from kolors_course.errors import CourseError

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")


def alphas_cumprod(
    beta_start: float, beta_end: float, num_train_timesteps: int, beta_schedule: str = "scaled_linear"
) -> Tensor:
    """ᾱ_t = ∏(1-β_s) as diffusers computes it, to the last bit: in float32, so that no σ differs from the reference.

    Args:
        beta_start, beta_end: first and last β; "squaredcos_cap_v2" takes no notice of them.
        num_train_timesteps: T.
        beta_schedule: "linear" (arXiv 2006.11239, section 4), "scaled_linear" (√β is linear: Stable Diffusion, SDXL,
            Kolors) or "squaredcos_cap_v2" (the cosine schedule).

    Returns:
        float32, shape (T,), falling.

    Raises:
        CourseError: the schedule is unknown or a number out of range.
    """
    numbers = all(isinstance(beta, (int, float)) for beta in (beta_start, beta_end))
    if not (numbers and 0 < beta_start <= beta_end < 1):
        raise CourseError(f"beta_start {beta_start!r}, beta_end {beta_end!r}: give 0 < start <= end < 1")
    if not isinstance(num_train_timesteps, Integral) or num_train_timesteps < 2:
        raise CourseError(f"num_train_timesteps is {num_train_timesteps!r}; give a whole number above 1")
    if beta_schedule == "scaled_linear":
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=torch.float32) ** 2
    elif beta_schedule == "linear":
        betas = torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float32)
    elif beta_schedule == "squaredcos_cap_v2":
        betas = _cosine_betas(num_train_timesteps)
    else:
        raise CourseError(
            f'unknown beta_schedule "{beta_schedule}"; choose one of {", ".join(BETA_SCHEDULES)}'
        )
    return (1 - betas).cumprod(dim=0)


def zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """Shift and stretch √ᾱ so that the last timestep is pure noise (arXiv 2305.08891, Algorithm 1).

    The last ᾱ is 2⁻²⁴ instead of 0, as in `diffusers.EulerDiscreteScheduler`: σ is then 4096 and not infinite.

    Args:
        alphas_cumprod: ᾱ, shape (T,), falling.

    Returns:
        The same shape and type; the first value is kept.
    """
    root = alphas_cumprod.sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    # Through β and back, as the reference does, for the sake of the last digit.
    ᾱ = root**2
    ᾱ = torch.cat([ᾱ[:1], ᾱ[1:] / ᾱ[:-1]])
    ᾱ = (1 - (1 - ᾱ)).cumprod(dim=0)
    ᾱ[-1] = 2**-24
    return ᾱ


def _cosine_betas(num_train_timesteps: int, max_beta: float = 0.999) -> Tensor:
    """β of ᾱ(t) = cos²(π/2·(t+s)/(1+s)), s = 0.008, held below 1 (arXiv 2102.09672, eq. 17)."""

    def ᾱ(t: float) -> float:
        return cos((t + 0.008) / 1.008 * pi / 2) ** 2

    T = num_train_timesteps
    betas = [min(1 - ᾱ((i + 1) / T) / ᾱ(i / T), max_beta) for i in range(T)]
    return torch.tensor(betas, dtype=torch.float32)
