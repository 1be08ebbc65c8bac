"""What learns, and towards what: the one loop that all training in this project runs through.

Three nouns, which do not know each other's inside:

* A **learner** is what changes (`Learner`): a LoRA, all weights of a U-Net, a VAE, a ControlNet.
* An **objective** says how far off the learner is: `objective(model, **material)` takes the learner's model and what
  was drawn for a step, such as `batch`, `noise` and `timesteps`, and returns losses by name, whose sum is minimised.
* The **material** of a step is everything random in it: `material(step)` draws pictures, noise and timesteps.

A *pass* takes them through the networks: `gradients(step)` leaves the gradients of the losses in the learner's
parameters and returns the losses. `plain_pass` does just this; `distributed.AcceleratedPass` does it on several
devices, in mixed precision, and in parts; `recorded.RecordedPass` records it on a GPU.
`Training` adds an optimizer, and its steps are the loop. What is due after which step (a log, a checkpoint, samples)
is the business of whoever runs through them:

    for losses in training.steps(lambda: training.step >= 500):
        ...
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

Objective = Callable[..., dict[str, Tensor]]
Material = Callable[[int], dict[str, Any]]
Gradients = Callable[[int], dict[str, Tensor]]


class Learner(Protocol):
    """What learns: networks, and which of their parameters are changed.

    Attributes:
        model: what the objective is given; its networks are in the mode to train in.
        module: the network that runs forward, which may be wrapped for several devices.
    """

    @property
    def model(self) -> Any: ...

    @property
    def module(self) -> nn.Module: ...

    def groups(self) -> list[dict[str, Any]]:
        """The parameters that learn, in an optimizer's groups: "params", and what is peculiar to a group."""
        ...

    def state(self) -> dict[str, Any]:
        """What learned, by name, for a checkpoint; nothing that stays as it was."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned; strict about names and shapes."""
        ...


class Optimizer(Protocol):
    """What of an optimizer a training uses; those of torch are such, and so is one made of two of them."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def step(self) -> Any: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def parameters_of(learner: Learner) -> list[nn.Parameter]:
    """The parameters of all groups of a learner, which the optimizer changes."""
    return [parameter for group in learner.groups() for parameter in group["params"]]


def plain_pass(learner: Learner, objective: Objective, material: Material) -> Gradients:
    """The gradients of a step: the objective forward and backward, on this device, in one piece."""

    def gradients(step: int) -> dict[str, Tensor]:
        for parameter in parameters_of(learner):
            parameter.grad = None
        losses = objective(learner.model, **material(step))
        total_loss(losses).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    return gradients


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """What is minimised: the sum of the losses."""
    return torch.stack(list(losses.values())).sum()


def _unclipped() -> None:
    """Leave the gradients as they are."""


@dataclass
class Training:
    """A learner on its way, at one step of it.

    Attributes:
        gradients: the pass, see this module's docstring.
        rates: the learning rate of each group of the optimizer at a step, counted from 0.
        clip: limits the gradients before the optimizer uses them.
        average: a moving average of what learns, or None.
        step: how many steps are done.
    """

    learner: Learner
    gradients: Gradients
    optimizer: Optimizer
    rates: Callable[[int], Sequence[float]]
    clip: Callable[[], Any] = _unclipped
    average: EMAModel | None = None
    step: int = 0

    def take_step(self) -> dict[str, Tensor]:
        """One step of the optimizer; returns the losses before it."""
        for group, rate in zip(self.optimizer.param_groups, self.rates(self.step), strict=True):
            group["lr"] = rate
        losses = self.gradients(self.step)
        self.clip()
        self.optimizer.step()
        if self.average:
            self.average.step(parameters_of(self.learner))
        self.step += 1
        return losses

    def steps(self, finished: Callable[[], bool]) -> Iterator[dict[str, Tensor]]:
        """Steps until `finished`, which is asked before each; yields the losses of each."""
        while not finished():
            yield self.take_step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides the learner's state: the optimizer, the step and, if any, the average."""
        average = {"average": self.average.state_dict()} if self.average else {}
        return {"optimizer": self.optimizer.state_dict(), "step": self.step, **average}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; an optimizer's state that is None starts anew."""
        if state["optimizer"]:
            self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])
            self.average.to(parameters_of(self.learner)[0].device)
        self.step = state["step"]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within this context what learns holds its average; without one, nothing changes."""
        if self.average is None:
            yield
            return
        parameters = parameters_of(self.learner)
        self.average.store(parameters)
        self.average.copy_to(parameters)
        try:
            yield
        finally:
            self.average.restore(parameters)
