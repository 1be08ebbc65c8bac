"""Telling by a short text whether a network is still the same."""

import hashlib

from torch import nn

_SAMPLED = 64  # values of each tensor that go into the hash


def hash_of_weights(module: nn.Module) -> str:
    """A hash of a model: names, shapes and types of its tensors and a sample of their values.

    Sampling makes it cheap for billions of weights; training of any kind changes nearly all of them.
    """
    digest = hashlib.sha256(type(module).__name__.encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        step = max(1, tensor.numel() // _SAMPLED)
        # To the CPU first: the GPUs of Macs have no double precision.
        digest.update(tensor.flatten()[::step].cpu().double().numpy().tobytes())
    return digest.hexdigest()
