"""Distilling a consistency model of the plane: one call that leads from anywhere on an ODE's path to its end."""

import torch
from torch import Tensor

from kolors_course.diffusion import Denoise, NoiseSchedule, to_x0
from kolors_course.diffusion.consistency import boundary_scalings
from kolors_course.theory.nets import TimeNet, draw, fit, weights_from


def distil_consistency(
    teacher: Denoise,
    points: Tensor,
    schedule: NoiseSchedule,
    *,
    generator: torch.Generator,
    original_inference_steps: int = 20,
    steps: int = 1500,
    batch_size: int = 256,
) -> tuple[TimeNet, list[float]]:
    """Consistency distillation (arXiv 2303.01469, Algorithm 2, with a target network that is the student itself).

    Two neighbours on one path must lead to the same end: the student's answer at the noisier one is pulled towards
    its own answer at the cleaner one, to which the teacher shows the way by one step of DDIM. At the cleanest the
    end is known. So the truth spreads along the path, from the data to the noise.

    Args:
        teacher: `denoise(sample, timestep) -> epsilon`.
        points: (N, D), the data.
        original_inference_steps: on how many timesteps; `lcm` must be told the same. More need a target that moves
            more slowly than the student.

    Returns:
        The student, which predicts x₀ ("sample"), for `kolors_course.diffusion.lcm`; and the loss of each step.
    """
    grid = schedule.consistency_timesteps(original_inference_steps, original_inference_steps).flip(0).long()
    # The clean end has no timestep: it is the entry before the first.
    ᾱ = torch.cat([torch.ones(1), schedule.alphas_cumprod[grid]])
    with weights_from(generator):
        student = TimeNet(points.shape[1], horizon=schedule.num_train_timesteps)

    def loss() -> Tensor:
        x0 = points[draw(points, batch_size, generator)]
        here = torch.randint(1, len(ᾱ), (batch_size,), generator=generator)
        x = schedule.add_noise(x0, torch.randn(x0.shape, generator=generator), grid[here - 1])
        with torch.no_grad():
            cleaner = _ddim(teacher, x, grid[here - 1], ᾱ[here][:, None], ᾱ[here - 1][:, None])
            before = grid[(here - 2).clamp(min=0)]
            target = torch.where(here[:, None] > 1, consistent(student, cleaner, before), cleaner)
        return (consistent(student, x, grid[here - 1]) - target).square().mean()

    # Gently: the student chases its own answers, and at twice the rate it now and then runs away.
    return student, fit(student.parameters(), loss, steps, learning_rate=2e-3)


def consistent(student: TimeNet, sample: Tensor, timesteps: Tensor) -> Tensor:
    """Where the path through `sample` (B, D) ends, by the student: f = c_skip·x + c_out·x₀ (eq. 5)."""
    c_skip, c_out = boundary_scalings(timesteps[:, None].float())
    return c_skip * sample + c_out * student(sample, timesteps)


def _ddim(teacher: Denoise, x: Tensor, timesteps: Tensor, ᾱ: Tensor, ᾱ_next: Tensor) -> Tensor:
    """One step of DDIM, each row from its own noise level to its own next (arXiv 2010.02502, eq. 12)."""
    ε = teacher(x, timesteps)
    x0 = to_x0(ε, x, ᾱ.sqrt(), (1 - ᾱ).sqrt(), "epsilon")
    return ᾱ_next.sqrt() * x0 + (1 - ᾱ_next).sqrt() * ε
