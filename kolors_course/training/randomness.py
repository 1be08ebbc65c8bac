"""Random numbers that belong to a purpose and a step, so that a resumed run has no random state to restore."""

import hashlib

import torch

INIT, CROP, ORDER, STEP, BUCKET, HELD_OUT, VALIDATION, PRIOR, DROPOUT = range(9)  # what randomness is for


def generator_for(*key: int) -> torch.Generator:
    """A generator for `key`, such as (seed, STEP, 7)."""
    return torch.Generator().manual_seed(key_number(*key))


def key_number(*key: int) -> int:
    """A seed for `key`.

    The key is hashed, because torch's CPU generator reads only 32 bits of a seed: numbers packed side by side
    into one longer seed would partly be ignored.
    """
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "little")
