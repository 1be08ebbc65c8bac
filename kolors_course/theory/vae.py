"""A variational autoencoder of the plane (arXiv 1312.6114), with one latent number, so that log p(x) is known."""

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor, nn

from kolors_course.theory.nets import draw, fit, mlp, weights_from

_LOG_2PI = log(2 * pi)


@dataclass(frozen=True, eq=False)
class Elbo:
    """The two sides of the evidence lower bound, in nats, one value for each point (B,).

    Attributes:
        reconstruction: E[log p(x|z)]: how well the code says what x was.
        kl: KL(q(z|x) ‖ p(z)): what the code costs. 0 everywhere means that the code says nothing: posterior collapse.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def bound(self) -> Tensor:
        """The evidence lower bound itself: reconstruction - kl <= log p(x), (B,)."""
        return self.reconstruction - self.kl


class TinyVAE(nn.Module):
    """Encoder q(z|x) = N(μ(x), s(x)²), decoder p(x|z) = N(m(z), σ²), prior p(z) = N(0, 1).

    σ is learned too: it says what the model holds to be noise.
    """

    def __init__(self, dimensions: int = 2, latents: int = 1, width: int = 64) -> None:
        super().__init__()
        self.latents = latents
        self.encoder = mlp(dimensions, 2 * latents, width)
        self.decoder = mlp(latents, dimensions, width)
        self.log_std = nn.Parameter(torch.tensor(-1.5))  # from 0 the code would look useless, and stay so

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the code, (B, latents) each."""
        mean, log_std = self.encoder(x).chunk(2, dim=1)
        return mean, log_std.exp()

    def decode(self, z: Tensor) -> Tensor:
        """The centre of the points that the code z (B, latents) stands for, (B, D)."""
        return self.decoder(z)

    def elbo(self, x: Tensor, generator: torch.Generator) -> Elbo:
        """The bound at x (B, D), from one code each, drawn so that gradients pass: z = μ + s·ε (section 2.4)."""
        mean, std = self.encode(x)
        z = mean + std * torch.randn(mean.shape, generator=generator)
        kl = ((mean**2 + std**2 - 1) / 2 - std.log()).sum(dim=1)  # appendix B
        return Elbo(self._log_likelihood(x, z), kl)

    @torch.no_grad()
    def log_density(self, x: Tensor, grid: int = 801) -> Tensor:
        """log p(x) itself, (B,): the integral over all codes, which one latent number allows (not more than one)."""
        z = torch.linspace(-6, 6, grid)[:, None]
        log_prior = -(z[:, 0] ** 2 + _LOG_2PI) / 2 + log(12 / (grid - 1))
        joint = self._log_likelihood(x[:, None], z) + log_prior  # (B, grid)
        return joint.logsumexp(dim=1)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """New points (count, D): a code from the prior, and noise around what it stands for."""
        centre = self.decode(torch.randn(count, self.latents, generator=generator))
        return centre + self.log_std.exp() * torch.randn(centre.shape, generator=generator)

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z), summed over dimensions."""
        error = (x - self.decode(z)) / self.log_std.exp()
        return -(error**2 / 2 + self.log_std + _LOG_2PI / 2).sum(dim=-1)


def train_vae(
    points: Tensor, *, generator: torch.Generator, beta: float = 1.0, steps: int = 1500, batch_size: int = 256
) -> tuple[TinyVAE, list[float]]:
    """Train a `TinyVAE`: maximise reconstruction - β·KL.

    Args:
        points: (N, D).
        beta: 1 is the bound itself; more makes codes cost more (β-VAE), until they say nothing.

    Returns:
        The model and the loss of each step, in nats.
    """
    with weights_from(generator):
        vae = TinyVAE(points.shape[1])

    def loss() -> Tensor:
        terms = vae.elbo(points[draw(points, batch_size, generator)], generator)
        return (beta * terms.kl - terms.reconstruction).mean()

    return vae, fit(vae.parameters(), loss, steps)
