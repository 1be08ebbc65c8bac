"""Dropout inside a LoRA: some of the inputs of A are left out at random in each step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from kolors_course.lora.adapter import lora_layers
from kolors_course.training.randomness import DROPOUT, key_number


class LoraDropout:
    """The dropout of all LoRA layers of some networks; off outside of `drawing`.

    What is left out follows from (seed, step, process), so that a resumed run leaves out the same.
    """

    def __init__(self, networks: list[nn.Module], rate: float, adapter_name: str = "default"):
        self.layers: list[nn.Dropout] = []
        for network in networks if rate else ():
            for _, wrapper in lora_layers(network):
                if adapter_name in wrapper.lora_dropout:
                    wrapper.lora_dropout[adapter_name] = nn.Dropout(rate).eval()
                    self.layers.append(wrapper.lora_dropout[adapter_name])

    @contextmanager
    def drawing(self, device: torch.device, *key: int) -> Iterator[None]:
        """Within this context inputs are left out, as `key` says; other random numbers are not touched.

        The backward pass belongs into it too: with checkpointing it computes the forward pass again.
        """
        if not self.layers:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(key_number(DROPOUT, *key))
            for layer in self.layers:
                layer.train()
            try:
                yield
            finally:
                for layer in self.layers:
                    layer.eval()
