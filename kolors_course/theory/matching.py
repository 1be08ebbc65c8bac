"""Flow matching and rectified flow: learn the velocity of straight paths x_t = (1-t)·x₀ + t·ε.

Time runs as in diffusers and SD3: data at t = 0, noise at t = 1; the papers have it the other way round.
"""

import torch
from torch import Tensor

from kolors_course.diffusion import Denoise, NoiseSchedule, flow_euler, to_x0
from kolors_course.theory.nets import TimeNet, draw, fit, weights_from


def flow_matching_loss(velocity: TimeNet, x0: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
    """E|v(x_t, t) - (ε - x₀)|²: each pair pulls its own way, and the mean is the velocity of the whole cloud.

    arXiv 2210.02747, eq. 23 with σ_min = 0; arXiv 2209.03003, eq. 1.

    Args:
        x0, noise: ends of the paths, (B, D) each.
    """
    t = torch.rand(len(x0), generator=generator)
    x_t = torch.lerp(x0, noise, t[:, None])
    return (velocity(x_t, t) - (noise - x0)).square().mean()


def train_velocity(
    points: Tensor,
    *,
    generator: torch.Generator,
    noise: Tensor | None = None,
    steps: int = 1000,
    batch_size: int = 256,
) -> tuple[TimeNet, list[float]]:
    """Train a velocity; sample with `kolors_course.diffusion.flow_euler`.

    Args:
        points: (N, D), the data.
        noise: (N, D), the noise that belongs to each point, as from `reflow_pairs`; None draws it anew every time.

    Returns:
        The network and the loss of each step.
    """
    with weights_from(generator):
        velocity = TimeNet(points.shape[1])

    def loss() -> Tensor:
        rows = draw(points, batch_size, generator)
        ends = torch.randn(batch_size, points.shape[1], generator=generator) if noise is None else noise[rows]
        return flow_matching_loss(velocity, points[rows], ends, generator)

    return velocity, fit(velocity.parameters(), loss, steps)


@torch.no_grad()
def reflow_pairs(
    velocity: TimeNet, count: int, generator: torch.Generator, steps: int = 50
) -> tuple[Tensor, Tensor]:
    """Points (count, 2) that a velocity makes, and the noise that each came from (arXiv 2209.03003, Algorithm 1).

    Trained on these pairs, a velocity has less crossing of paths to average, so its paths get straighter, until one
    step of Euler's is enough.
    """
    noise = torch.randn(count, 2, generator=generator)
    *_, last = flow_euler(velocity, noise, steps)
    return last.sample, noise


@torch.no_grad()
def curvature(velocity: TimeNet, noise: Tensor, steps: int = 50) -> float:
    """∫ E|(x₁ - x₀) - v(x_t, t)|² dt along the sampled paths (arXiv 2209.03003, section 2); 0 is straight."""
    states = list(flow_euler(velocity, noise, steps))
    chord = states[0].sample - states[-1].sample
    gaps = [
        (chord - (state.sample - state.pred_original_sample) / state.timestep).square().sum(dim=1).mean()
        for state in states[:-1]
    ]
    return float(torch.stack(gaps).mean())


def as_velocity(denoise: Denoise, schedule: NoiseSchedule) -> Denoise:
    """A diffusion model as the velocity of the straight path: the same model, asked on another scale.

    (1-t)·x₀ + t·ε is x₀ + σε times 1-t, with σ = t/(1-t) (arXiv 2403.03206, section 3). Where the schedule has no
    such noise, the nearest that it has stands in.

    Args:
        denoise: `denoise(sample, timestep) -> epsilon`, on the variance-preserving scale.
    """

    def velocity(sample: Tensor, t: Tensor) -> Tensor:
        share = float(t)
        timestep = torch.tensor(schedule.timestep_of(share / max(1 - share, 1e-6)))
        x = sample / ((1 - share) ** 2 + share**2) ** 0.5
        level = float(schedule.sigma(timestep))
        α = 1 / (level**2 + 1) ** 0.5
        ε = denoise(x, timestep)
        return ε - to_x0(ε, x, α, α * level, "epsilon")

    return velocity
