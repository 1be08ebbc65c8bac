"""A critic for the VAE: it learns to tell pictures from reconstructions, the decoder learns to be taken for real.

Errors of single pixels are least where an edge of uncertain place is drawn soft; a soft edge gives a reconstruction
away, so a critic asks for crisp ones. It looks at patches alone (arXiv 1611.07004, section 3.2.2): what is where in
the picture stays the business of the other losses. A distance in the features of a network would do, too (arXiv
1801.03924); ours would have to be the judge's, and a judge must not be one that anybody learnt to please.
"""

from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from kolors_course.mini.network import NetworkLearner

TINY, MOST = 1e-6, 1e4  # what keeps the adaptive weight finite


class Critic(nn.Module):
    """PatchGAN: pictures (B, 3, H, W) in -1..1 -> how real each patch of 34 x 34 pixels looks, (B, 1, h, w).

    The C64-C128 discriminator of arXiv 1611.07004, section 6.1.2, with one more layer and group normalisation, which,
    unlike that of batches, does not let real pictures and reconstructions differ by their company.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        conv = partial(nn.Conv2d, kernel_size=4, padding=1)
        self.layers = nn.Sequential(
            *(conv(3, width, stride=2), nn.LeakyReLU(0.2)),
            *(conv(width, 2 * width, stride=2), nn.GroupNorm(8, 2 * width), nn.LeakyReLU(0.2)),
            *(conv(2 * width, 4 * width), nn.GroupNorm(8, 4 * width), nn.LeakyReLU(0.2)),
            conv(4 * width, 1),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)


class CriticisedLearner(NetworkLearner):
    """A VAE, or what learns of it, and the critic, which learns in the same steps against it."""

    def __init__(self, vae: nn.Module, critic: Critic):
        super().__init__(vae)
        self.critic = critic

    def groups(self) -> list[dict[str, Any]]:
        """The VAE's group, and the critic's: as usual with adversaries, its optimizer remembers little."""
        critic = {"params": list(self.critic.parameters()), "betas": (0.5, 0.9), "weight_decay": 0.0}
        return [*super().groups(), critic]

    def state(self) -> dict[str, Any]:
        """All weights of both."""
        return super().state() | {"critic": self.critic.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over the weights that `state` returned."""
        super().load(state)
        self.critic.load_state_dict(state["critic"])


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """What the critic minimises (arXiv 1705.02894, eq. 5 to 6): real patches above 1, others below -1; halved."""
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def adaptive_weight(loss: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """λ = ‖∇ loss‖ / (‖∇ adversarial‖ + δ), gradients by the decoder's `last` weights (arXiv 2012.09841, eq. 7).

    Weighted so, the critic's word counts as much as all other losses, whatever their scales.
    """
    one, two = (torch.autograd.grad(each, last, retain_graph=True)[0].norm() for each in (loss, adversarial))
    return (one / (two + TINY)).clamp(max=MOST).detach()


def adversarial_losses(
    critic: Critic, vae: AutoencoderKL, pixels: Tensor, decoded: Tensor, loss: Tensor, weight: float
) -> dict[str, Tensor]:
    """The decoder's loss and the critic's, to be added to `loss`, as in latent diffusion (arXiv 2112.10752, app. G).

    One pass backward through the sum of all gives each its own gradients: the decoder's loss sees the critic's
    weights as constants, the critic's sees the reconstructions so.

    Args:
        pixels, decoded: (B, 3, H, W), and what the VAE makes of them.
        loss: of the reconstruction.
        weight: how much the critic counts beside it, see `adaptive_weight`.
    """
    constants = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    adversarial = -functional_call(critic, constants, (decoded,)).float().mean()
    balance = adaptive_weight(loss, adversarial, vae.decoder.conv_out.weight)
    real, fake = critic(pixels).float(), critic(decoded.detach()).float()
    return {"adversarial": weight * balance * adversarial, "critic": hinge_loss(real, fake)}
