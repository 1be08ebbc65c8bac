"""An exponential moving average of what is trained, smoother than any of its moments."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from diffusers.training_utils import EMAModel
from torch import nn


@contextmanager
def averaged(average: EMAModel | None, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within this context `parameters` hold their average; without one, nothing changes."""
    if average is None:
        yield
        return
    average.store(parameters)
    average.copy_to(parameters)
    try:
        yield
    finally:
        average.restore(parameters)
