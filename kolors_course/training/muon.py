"""Muon for the kernels of a network, AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) makes the momentum of a matrix orthogonal before
it is added: directions in which the gradient is small learn as fast as those in which it is large. Lengths are
matched to AdamW's (arXiv 2502.16982, section 2.2), so that one learning rate serves both. `torch.optim.Muon`
takes matrices only; here a convolution's kernel (out, in, h, w) is one of out x (in * h * w).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# The smaller side of a matrix from which on Muon has it. Convolutions from and to a few channels stay with AdamW,
# as its author advises for the first and last layers.
SMALLEST = 32


def is_kernel(parameter: Tensor) -> bool:
    """Whether Muon has a parameter: a matrix, or a kernel as one, that is large enough both ways."""
    return parameter.ndim > 1 and min(len(parameter), parameter[0].numel()) >= SMALLEST


class MuonAdamW:
    """An optimizer of two, as `kolors_course.training.learning.Training` uses one.

    Args:
        parameters: with their `.grad` set before each step.
        lr: the learning rate to begin with, of both.
        betas: of AdamW.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 1e-4,
    ):
        every = list(parameters)
        self.kernels = [parameter for parameter in every if is_kernel(parameter)]
        # Muon's own copies: a kernel in channels_last order cannot be seen as a matrix where it lies.
        self.matrices = [nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in self.kernels]
        self.muon = torch.optim.Muon(
            self.matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        rest = [parameter for parameter in every if not is_kernel(parameter)]
        self.adamw = torch.optim.AdamW(rest, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Muon's group, then AdamW's; "lr" may be set."""
        return [*self.muon.param_groups, *self.adamw.param_groups]

    @torch.no_grad()
    def step(self) -> None:
        """Change all parameters by their gradients."""
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.copy_(kernel.flatten(1))
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        self.muon.step()
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            kernel.copy_(matrix.view(kernel.shape))
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
