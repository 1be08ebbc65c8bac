"""One pass forward and backward, recorded once on a GPU and then replayed.

A small network spends most of a GPU step waiting for Python to launch its hundreds of little kernels. A CUDA graph
launches them all at once: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from kolors_course.training.learning import Gradients, Learner, Material, Objective, parameters_of

WARM_UP = 3  # passes before recording, so that libraries have chosen their kernels


class RecordedPass:
    """`losses(**inputs)` and the gradients of the sum of what it returns.

    Args:
        losses: takes tensors by name and returns losses (numbers) by name. On a GPU it must not read values
            back, and every call must bring tensors of the same shapes.
        parameters: whose `.grad` is set; each call replaces the gradients of the last.
        device: where it runs; on anything but CUDA each call simply runs.
    """

    def __init__(
        self, losses: Callable[..., dict[str, Tensor]], parameters: Sequence[Tensor], device: torch.device
    ):
        self.losses, self.parameters, self.device = losses, parameters, device
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The losses, without gradient; on a GPU they are overwritten by the next call."""
        if self.device.type != "cuda":
            return self._run(inputs)
        if self.graph is None:
            self.graph = self._record(inputs)
        for name, tensor in inputs.items():
            self.inputs[name].copy_(tensor, non_blocking=True)
        self.graph.replay()
        return self.outputs

    def _run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        for parameter in self.parameters:
            parameter.grad = None
        losses = self.losses(**inputs)
        torch.stack(list(losses.values())).sum().backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _record(self, inputs: dict[str, Tensor]) -> torch.cuda.CUDAGraph:
        self.inputs = {name: tensor.to(self.device, copy=True) for name, tensor in inputs.items()}
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._run(self.inputs)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.outputs = self._run(self.inputs)
        return graph


def recorded_pass(
    learner: Learner, objective: Objective, material: Material, device: torch.device
) -> Gradients:
    """The pass of a `Training`, recorded on a GPU; material must be tensors, of the same shapes in every step."""
    record = RecordedPass(partial(objective, learner.model), parameters_of(learner), device)
    return lambda step: record(**material(step))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy without waiting for the device to finish its work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
