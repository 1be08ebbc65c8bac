"""One network that learns by itself, as VAE and probe do, and what its checkpoint holds."""

from typing import Any

from torch import nn

CONTENTS = {"model": dict, "optimizer": dict, "step": int}


class NetworkLearner:
    """The learner of one network: of those of its weights that require a gradient."""

    def __init__(self, network: nn.Module):
        self.model = self.module = network

    def groups(self) -> list[dict[str, Any]]:
        """One group: the weights that learn."""
        return [{"params": [weight for weight in self.module.parameters() if weight.requires_grad]}]

    def state(self) -> dict[str, Any]:
        """All weights and running means by name, those of a part that stays too."""
        return {"model": self.module.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over the weights that `state` returned."""
        self.module.load_state_dict(state["model"])
