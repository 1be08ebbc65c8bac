"""Forward and backward in one call; recorded on a GPU, plain elsewhere."""

import pytest
import torch
from denoising_tensors import DenoisingTensors, NoisyTensors

from kolors_course.kolors import encode_prompts, time_ids
from kolors_course.lora import unload_lora
from kolors_course.training.learner import LoraLearner
from kolors_course.training.learning import parameters_of, plain_pass
from kolors_course.training.losses import LossSettings
from kolors_course.training.objective import Batch, Denoising
from kolors_course.training.recipe import LoraTraining
from kolors_course.training.recorded import RecordedPass, recorded_pass, to_device


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


@pytest.mark.parametrize("name", devices())
def test_shapes_may_take_turns(name):
    """Buckets of pictures: each shape has a recording of its own, and its own gradients."""
    device = torch.device(name)
    weight = torch.tensor([2.0], device=device, requires_grad=True)
    record = RecordedPass(lambda x: {"loss": (weight * x).sum()}, [weight], device)
    for values in ([1.0, 2.0], [3.0], [5.0, 6.0], [7.0]):
        told = record(x=torch.tensor(values))
        assert told["loss"].item() == 2 * sum(values)
        assert weight.grad.item() == sum(values)


@pytest.mark.parametrize(
    "settings",
    [LossSettings(), LossSettings(min_snr_gamma=5.0), LossSettings(kind="huber", noise_offset=0.1)],
    ids=["plain", "min-snr", "huber"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_denoising_in_tensors_is_denoising(tiny_model, settings, masked):
    """Losses and gradients of a LoRA, as the trainer's own pass takes them, to the last bit."""
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        torch.randn(2, 4, 8, 8, generator=generator),
        encode_prompts(tiny_model.tokenizer, tiny_model.text_encoder, ["a red cat", "一只蓝猫"]),
        time_ids(32, 32).expand(2, -1),
        torch.rand(2, 1, 8, 8, generator=generator) if masked else None,
    )
    drawn = {
        "batch": batch,
        "noise": torch.randn(2, 4, 8, 8, generator=generator),
        "timesteps": torch.tensor([3, 700]),
    }
    learner = LoraLearner(tiny_model, LoraTraining())
    try:
        for parameter in parameters_of(learner):
            torch.nn.init.constant_(parameter, 0.01)
        plain = plain_pass(learner, Denoising(settings), lambda step: drawn)(0)
        wanted = [parameter.grad.clone() for parameter in parameters_of(learner)]
        material = NoisyTensors(lambda step: drawn, tiny_model.schedule, settings)
        record = recorded_pass(learner, DenoisingTensors(settings), material, torch.device("cpu"))
        assert torch.equal(record(0)["loss"], plain["loss"])
        found = [parameter.grad for parameter in parameters_of(learner)]
        assert all(torch.equal(one, two) for one, two in zip(wanted, found, strict=True))
    finally:
        unload_lora(tiny_model.unet)
        tiny_model.unet.requires_grad_(False)
