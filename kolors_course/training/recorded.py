"""One pass forward and backward, recorded once on a GPU and then replayed.

A small network spends most of a GPU step waiting for Python to launch its hundreds of little kernels, and so does a
large one with a small batch. A CUDA graph launches them all at once:
https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from kolors_course.training.learning import Gradients, Learner, Material, Objective, parameters_of, total_loss

WARM_UP = 3  # passes before recording, so that libraries have chosen their kernels


@dataclass(frozen=True)
class Recording:
    """A pass on a GPU, for tensors of these shapes.

    Attributes:
        inputs, outputs, gradients: what it reads, and the losses and gradients that it writes, each time in the
            same place.
    """

    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    gradients: list[Tensor | None]


class RecordedPass:
    """`losses(**inputs)` and the gradients of the sum of what it returns.

    Args:
        losses: takes tensors by name and returns losses (numbers) by name. On a GPU it must not read values
            back; for each set of shapes that calls bring, one recording is made.
        parameters: whose `.grad` is set; each call replaces the gradients of the last.
        device: where it runs; on anything but CUDA each call simply runs.
    """

    def __init__(
        self, losses: Callable[..., dict[str, Tensor]], parameters: Sequence[Tensor], device: torch.device
    ):
        self.losses, self.parameters, self.device = losses, parameters, device
        self.recordings: dict[tuple, Recording] = {}

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The losses, without gradient; on a GPU they are overwritten by the next call of the same shapes."""
        if self.device.type != "cuda":
            return self._run(inputs)
        kind = tuple((name, tensor.shape, tensor.dtype) for name, tensor in inputs.items())
        if kind not in self.recordings:
            self.recordings[kind] = self._record(inputs)
        recording = self.recordings[kind]
        for name, tensor in inputs.items():
            recording.inputs[name].copy_(tensor, non_blocking=True)
        recording.graph.replay()
        for parameter, gradient in zip(self.parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.outputs

    def _run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        for parameter in self.parameters:
            parameter.grad = None
        losses = self.losses(**inputs)
        total_loss(losses).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _record(self, inputs: dict[str, Tensor]) -> Recording:
        inputs = {name: tensor.to(self.device, copy=True) for name, tensor in inputs.items()}
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._run(inputs)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self._run(inputs)
        return Recording(graph, inputs, outputs, [parameter.grad for parameter in self.parameters])


def recorded_pass(
    learner: Learner, objective: Objective, material: Material, device: torch.device
) -> Gradients:
    """The pass of a `Training`, recorded on a GPU; material must be tensors by name, of few sets of shapes."""
    record = RecordedPass(partial(objective, learner.model), parameters_of(learner), device)
    return lambda step: record(**material(step))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy without waiting for the device to finish its work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
