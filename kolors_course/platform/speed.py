"""How fast a device is: operations a second in a large product, and seconds that go by between two small ones."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

SIDES = {"cuda": 4096, "mps": 2048, "cpu": 768}  # of the product; a few milliseconds each
ROUNDS, SMALL = 5, 300


@dataclass(frozen=True)
class DeviceSpeed:
    """What a device does at its best.

    Attributes:
        tflops: 10¹² floating-point operations a second.
        overhead: seconds to begin one operation, however small.
        overlaps: whether the next operation is begun while the last one still runs, as on a GPU.
    """

    tflops: float
    overhead: float
    overlaps: bool

    def seconds(self, tflop: float, operations: int) -> float:
        """The least time that so much work takes. Few real operations run as fast as a large product."""
        computing, beginning = tflop / self.tflops, operations * self.overhead
        return max(computing, beginning) if self.overlaps else computing + beginning


def measure_speed(device: torch.device, dtype: torch.dtype) -> DeviceSpeed:
    """Measure `device` with numbers of `dtype`; takes about a tenth of a second."""
    side = SIDES.get(device.type, SIDES["cpu"])
    matrix = torch.randn(side, side, device=device).to(dtype)
    number = torch.zeros(1, device=device)

    def small() -> None:
        for _ in range(SMALL):
            number.add_(1)

    product = _fastest(lambda: matrix @ matrix, device)
    return DeviceSpeed(2e-12 * side**3 / product, _fastest(small, device) / SMALL, device.type != "cpu")


def _fastest(job: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of some rounds, after one that does not count."""
    times = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
