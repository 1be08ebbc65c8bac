"""Forward and backward in one call; recorded on a GPU, plain elsewhere."""

import pytest
import torch

from kolors_course.mini.recorded import RecordedPass, to_device


def squares(weight: torch.Tensor):
    """Two losses of `weight`, which depend on what is passed in."""

    def losses(factor: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"squares": (factor * weight).square().sum(), "sum": weight.sum()}

    return losses


def devices():
    gpu = pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
    )
    return ["cpu", gpu]


@pytest.mark.parametrize("name", devices())
def test_each_call_gives_its_own_losses_and_gradients(name):
    device = torch.device(name)
    weight = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
    record = RecordedPass(squares(weight), [weight], device)
    for factor in (1.0, 3.0, 2.0):
        told = record(factor=torch.tensor(factor))
        assert {key: float(value) for key, value in told.items()} == {"squares": 5 * factor**2, "sum": 3.0}
        assert not any(value.requires_grad for value in told.values())
        assert weight.grad.tolist() == [2 * factor**2 + 1, 4 * factor**2 + 1]


@pytest.mark.parametrize("name", devices())
def test_steps_of_an_optimizer_between_calls_are_seen(name):
    device = torch.device(name)
    weight = torch.tensor([4.0], device=device, requires_grad=True)
    record = RecordedPass(squares(weight), [weight], device)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    values = []
    for _ in range(3):
        values.append(float(record(factor=torch.tensor(1.0))["squares"]))
        optimizer.step()
    assert values[0] == 16
    assert values == sorted(values, reverse=True)


def test_to_device():
    tensor = torch.arange(3)
    assert torch.equal(to_device(tensor, torch.device("cpu")), tensor)
