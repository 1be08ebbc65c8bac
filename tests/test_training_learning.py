"""The one training loop: any learner and any objective can be plugged into it."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from tiny import assert_same_state, state_of
from torch import nn

from kolors_course.dataset import read_dataset
from kolors_course.training.batches import NoisyBatches, PictureStream
from kolors_course.training.cache import build_cache
from kolors_course.training.distributed import AcceleratedPass
from kolors_course.training.learner import LoraLearner
from kolors_course.training.learning import Training, parameters_of, plain_pass
from kolors_course.training.losses import LossSettings
from kolors_course.training.objective import Denoising
from kolors_course.training.recipe import LoraTraining


class Line:
    """A toy learner: y = ax + b."""

    def __init__(self):
        self.model = self.module = nn.Linear(1, 1)
        nn.init.zeros_(self.module.weight)
        nn.init.zeros_(self.module.bias)

    def groups(self):
        return [{"params": list(self.module.parameters())}]

    def state(self):
        return self.module.state_dict()

    def load(self, state):
        self.module.load_state_dict(state)


def squares(model, x, y):
    """A toy objective."""
    return {"squares": (model(x) - y).square().mean()}


def points(step):
    """Toy material, all of it on the line y = 3x - 1."""
    x = torch.randn(16, 1, generator=torch.Generator().manual_seed(step))
    return {"x": x, "y": 3 * x - 1}


def on_a_line(rates=lambda step: [0.1], **options):
    learner = Line()
    optimizer = torch.optim.SGD(learner.groups(), lr=1.0)
    return Training(learner, plain_pass(learner, squares, points), optimizer, rates, **options)


def test_a_toy_learner_reaches_the_exact_answer():
    training = on_a_line()
    losses = [float(losses["squares"]) for losses in training.steps(lambda: training.step >= 200)]
    assert len(losses) == training.step == 200
    assert losses[0] > 1 > 1e-6 > losses[-1]
    line = training.learner.module
    assert (line.weight.item(), line.bias.item()) == pytest.approx((3, -1), abs=1e-4)


def test_a_step_is_the_rule_of_the_optimizer_at_the_rate_of_the_step():
    training = on_a_line(rates=lambda step: [0.1 / (step + 1)])
    a = b = 0.0
    for step in range(3):
        x, y = (t[:, 0].double() for t in points(step).values())
        error = a * x + b - y
        rate = 0.1 / (step + 1)
        a, b = a - rate * float(2 * (error * x).mean()), b - rate * float(2 * error.mean())
        training.take_step()
        assert training.learner.module.weight.item() == pytest.approx(a, rel=1e-5)
        assert training.learner.module.bias.item() == pytest.approx(b, rel=1e-5)


def test_gradients_are_clipped_before_the_optimizer_uses_them():
    training = on_a_line()
    training.clip = lambda: torch.nn.utils.clip_grad_norm_(parameters_of(training.learner), 0.5)
    training.take_step()
    moved = torch.cat([parameter.detach().flatten() for parameter in parameters_of(training.learner)])
    assert moved.norm().item() == pytest.approx(0.1 * 0.5, rel=1e-4)


def averaging():
    training = on_a_line()
    training.optimizer = torch.optim.Adam(training.learner.groups(), lr=0.1)
    training.average = EMAModel(parameters_of(training.learner), decay=0.5)
    return training


def test_a_checkpoint_goes_on_to_the_last_bit():
    whole, first, rest = averaging(), averaging(), averaging()
    for _ in whole.steps(lambda: whole.step >= 6):
        pass
    for _ in first.steps(lambda: first.step >= 3):
        pass
    rest.learner.load(first.learner.state())
    rest.load(first.state())
    assert rest.step == 3
    for _ in rest.steps(lambda: rest.step >= 6):
        pass
    assert torch.equal(whole.learner.module.weight, rest.learner.module.weight)
    with whole.averaged(), rest.averaged():
        assert torch.equal(whole.learner.module.weight, rest.learner.module.weight)


def test_within_averaged_the_learner_holds_its_average():
    training = averaging()
    training.take_step()
    weight = training.learner.module.weight.item()
    training.take_step()
    now = training.learner.module.weight.item()
    with training.averaged():
        assert weight < training.learner.module.weight.item() < now
    assert training.learner.module.weight.item() == now


def test_the_accelerated_pass_is_the_plain_one_over_more_material():
    """Two parts of a step are one pass over the pictures of both."""
    learner, entered = Line(), []

    def around(number):
        entered.append(number)
        return nullcontext()

    def both(step):
        halves = points(2 * step), points(2 * step + 1)
        return {name: torch.cat([half[name] for half in halves]) for name in halves[0]}

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    optimizer = accelerator.prepare(torch.optim.SGD(learner.groups(), lr=0.1))
    gradients = AcceleratedPass(learner, squares, points, optimizer, accelerator, 2, around)
    parts = Training(learner, gradients, optimizer, rates=lambda step: [0.1])
    whole = on_a_line()
    whole.gradients = plain_pass(whole.learner, squares, both)
    for _ in range(4):
        told, plain = parts.take_step(), whole.take_step()
        assert told["squares"].item() == pytest.approx(plain["squares"].item(), rel=1e-5)
    assert entered == list(range(8))
    torch.testing.assert_close(learner.module.weight, whole.learner.module.weight)


@pytest.fixture(scope="module")
def material(tiny_model, tiny_pictures):
    generator = torch.Generator().manual_seed(0)
    cache = build_cache(tiny_model, read_dataset(tiny_pictures), (32, 32), True, False, generator)
    stream = PictureStream((cache,), seed=0, caption_dropout=0.0)
    return NoisyBatches(stream, tiny_model.schedule.num_train_timesteps, batch_size=2)


class Beside:
    """What a ControlNet is to the loop: a network of its own whose output the frozen U-Net takes in."""

    def __init__(self, model):
        self.module = nn.Conv2d(4, 4, 1)
        nn.init.zeros_(self.module.weight)
        nn.init.zeros_(self.module.bias)
        self.model = replace(model, unet=_Led(model.unet, self.module))

    groups, state, load = Line.groups, Line.state, Line.load


class _Led(nn.Module):
    def __init__(self, unet, beside):
        super().__init__()
        self.unet, self.beside = unet, beside

    def forward(self, sample, *arguments, **options):
        return self.unet(sample + self.beside(sample), *arguments, **options)


def test_a_network_beside_the_u_net_is_a_learner(tiny_model, material):
    before = state_of(tiny_model.unet)
    learner = Beside(tiny_model)
    gradients = plain_pass(learner, Denoising(LossSettings()), material)
    training = Training(learner, gradients, torch.optim.Adam(learner.groups()), rates=lambda step: [1e-3])
    for _ in training.steps(lambda: training.step >= 3):
        pass
    assert learner.module.weight.abs().max() > 0
    assert_same_state(state_of(tiny_model.unet), before)


def test_distillation_is_an_objective(tiny_model, material):
    """A LoRA is led back to what a teacher predicts, instead of to the noise: only the objective is another one."""
    from kolors_course.kolors.unet import conditioning_of, unet_noise
    from kolors_course.lora import unload_lora

    learner = LoraLearner(tiny_model, LoraTraining())

    def imitate(model, batch, noise, timesteps):
        noisy = model.schedule.add_noise(batch.latents, noise, timesteps)
        told = conditioning_of(batch.prompts, batch.add_time_ids)
        with torch.no_grad():
            model.unet.disable_adapters()
            teacher = unet_noise(model, noisy, timesteps, told)
            model.unet.enable_adapters()
        return {"distance": (unet_noise(model, noisy, timesteps, told) - teacher).square().mean()}

    try:
        for parameter in parameters_of(learner):
            nn.init.constant_(parameter, 0.01)
        gradients = plain_pass(learner, imitate, lambda step: material(0))
        training = Training(learner, gradients, torch.optim.Adam(learner.groups()), rates=lambda step: [1e-3])
        losses = [float(told["distance"]) for told in training.steps(lambda: training.step >= 8)]
        assert losses[-1] < losses[0] / 2
    finally:
        unload_lora(tiny_model.unet)
        tiny_model.unet.requires_grad_(False)
