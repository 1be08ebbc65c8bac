"""The plan of a training run against real steps: bytes kept for the backward pass, operations, and what fits."""

import json
import re
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from tiny import QUICK
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from kolors_course.cli import main
from kolors_course.cli import train_lora as command
from kolors_course.cli.plans import advice
from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.kolors import KolorsModel
from kolors_course.kolors.compact import enable_text_bias
from kolors_course.kolors.configs import KOLORS_UNET
from kolors_course.kolors.quantize import quantizable_layers
from kolors_course.kolors.skeleton import (
    full_kolors,
    kolors_text_encoder_skeleton,
    skeleton_of,
)
from kolors_course.kolors.unet import unet_noise
from kolors_course.lora import LoraSettings, add_lora, unload_lora
from kolors_course.platform.machine import GIB
from kolors_course.platform.meter import Meter
from kolors_course.platform.speed import DeviceSpeed, measure_speed
from kolors_course.training.costs import (
    measure_captions,
    measure_picture,
    measure_step,
    step_inputs,
)
from kolors_course.training.plan import Saving, plan_training, ways_to_fit
from kolors_course.training.recipe import LoraTraining

CUDA = torch.device("cuda")
FULL = LoraTraining(batch_size=1, settings=LoraSettings(16, 16.0), precision="bf16")


def test_the_meter_counts_what_is_alive():
    outside = torch.ones(10)
    with Meter() as meter:
        outside.mul_(2)
        a = outside * 2
        b = a.view(2, 5)
        assert meter.bytes == 40
        c = a + 1
        del a, b
        assert (meter.bytes, meter.peak) == (40, 80)
        torch.ones(3, 4) @ torch.ones(4, 5)
        assert meter.flop == 2 * 3 * 4 * 5
        del c
    assert meter.peak == 40 + 48 + 80 + 60


def real_step(model: KolorsModel, settings: LoraSettings, batch) -> tuple[int, int]:
    """Bytes that autograd saves in a real forward pass on the CPU, and the operations of the whole step.

    Not counted are the weights, what is given from outside, and the output.
    """
    unet = model.unet
    add_lora(unet, settings, generator=torch.Generator().manual_seed(0))
    sample, timesteps, conditioning = step_inputs(model, batch)
    inputs = [torch.zeros_like(t, device="cpu") for t in (sample, timesteps)]
    conditioning = {name: torch.zeros_like(t, device="cpu") for name, t in conditioning.items()}
    known = {t.untyped_storage().data_ptr() for t in (*unet.parameters(), *inputs, *conditioning.values())}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage
        return tensor

    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            noise = unet_noise(model, *inputs, conditioning)
        loss = noise.square().mean()
        loss.backward()
    unload_lora(unet)
    saved.pop(noise.untyped_storage().data_ptr(), None)
    return sum(storage.nbytes() for storage in saved.values()), counter.get_total_flops()


def planned_step(model: KolorsModel, settings: LoraSettings, batch) -> tuple[int, float]:
    recipe = replace(QUICK, settings=settings)
    cost = measure_step(replace(model, unet=skeleton_of(model.unet)), recipe, batch, None, on_cpu=True)
    output = 4 * batch[0] * model.unet.config.out_channels * batch[1] * batch[2]
    return cost.kept - output, cost.tflop


@pytest.mark.parametrize(
    "settings",
    [
        LoraSettings(4, 4.0),
        LoraSettings(2, 2.0, ("to_q", "ff.net.0.proj", "conv1")),
        LoraSettings(4, 4.0, adapter="lokr"),
    ],
)
def test_a_real_step_keeps_as_many_bytes_as_planned(tiny_model, settings):
    kept, flop = real_step(tiny_model, settings, (2, 8, 12))
    planned, tflop = planned_step(tiny_model, settings, (2, 8, 12))
    assert planned == kept
    assert tflop * 1e12 == pytest.approx(flop)


def test_a_block_of_full_kolors_keeps_as_many_bytes_as_planned():
    """The widest level of the full U-Net with its real width, on a CPU, at a small size."""
    config = KOLORS_UNET | {
        "block_out_channels": (320, 640),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": [1, 1],
        "attention_head_dim": [5, 10],
        "layers_per_block": 1,
    }
    unet = UNet2DConditionModel(**config).requires_grad_(False)
    enable_text_bias(unet)
    model = KolorsModel(unet, None, kolors_text_encoder_skeleton(), None, NoiseSchedule.kolors(), "wide")
    kept, flop = real_step(model, LoraSettings(16, 16.0), (1, 8, 8))
    planned, tflop = planned_step(model, LoraSettings(16, 16.0), (1, 8, 8))
    assert planned == kept
    assert tflop * 1e12 == pytest.approx(flop)


def test_the_plan_of_full_kolors():
    kolors = full_kolors(torch.bfloat16)
    plan = plan_training(kolors, replace(FULL, size=(256, 256)), CUDA)
    captions, pictures, training = plan.phases
    assert captions.resident == pytest.approx(6.244e9 * 2, rel=1e-3)
    assert pictures.resident == pytest.approx(83.65e6 * 2, rel=1e-3)
    assert plan.weights == 2_579_458_820 * 2
    assert plan.learning == 23_224_320
    assert plan.adapter == plan.gradients == plan.optimizer / 2 == 4 * 23_224_320
    assert training.resident == plan.weights + 12 * 23_224_320
    assert plan.kept <= training.working < plan.kept + 0.1 * GIB
    assert plan.peak == captions.peak
    assert any("23,224,320 numbers that learn" in line for line in plan.lines())
    large = sum(layer.weight.numel() for layer in quantizable_layers(kolors.unet).values())
    # Two operations for each weight of the 28 blocks and each of 63 tokens.
    assert captions.tflop == pytest.approx(2 * 5.98e9 * 63 / 1e12, rel=0.05)
    assert large > 0.8 * 2_579_458_820


@pytest.fixture
def tiny_plan(tiny_model):
    return plan_training(tiny_model, replace(FULL, batch_size=2), CUDA)


def test_quantized_weights(tiny_model, tiny_plan):
    plan = plan_training(tiny_model, tiny_plan.recipe, CUDA, "nf4")
    large = sum(layer.weight.numel() for layer in quantizable_layers(tiny_model.unet).values())
    assert tiny_plan.weights - plan.weights == pytest.approx(large * (4 - 0.516), abs=100)


def test_what_is_not_counted_is_said(tiny_plan):
    assert not any("on top" in line for line in tiny_plan.lines())
    more = replace(tiny_plan, quantize="int8", recipe=replace(FULL, text_encoder_lora=True))
    assert sum("on top" in line for line in more.lines()) == 2


def test_what_to_change_to_make_it_fit(tiny_model, tiny_plan):
    need = tiny_plan.phases[-1].peak
    assert advice(tiny_model, tiny_plan, CUDA, 80 * GIB) == ["it fits into 80 GiB"]
    saving, smaller = next(ways_to_fit(tiny_model, tiny_plan, CUDA, need - 1))
    assert saving == Saving({"gradient_checkpointing": True})
    assert smaller.recipe.gradient_checkpointing
    assert smaller.phases[-1].working < tiny_plan.phases[-1].working
    lines = advice(tiny_model, tiny_plan, CUDA, 1000)
    assert lines[0].startswith("encode captions needs 0.0 GiB, more than ")
    assert [line.split(" the training")[0] for line in lines[2:-1]] == [
        "with --use_gradient_checkpointing",
        "with --batch_size 1 --accumulate_grad_batches 2 and 2 times the --steps_per_epoch",
        "with --quantize nf4",
    ]
    assert "still too much" in lines[-1]


def test_prior_pictures_and_a_moving_average_count(tiny_model, tiny_plan):
    plan = plan_training(tiny_model, replace(tiny_plan.recipe, ema_decay=0.9), CUDA, prior=True)
    assert plan.kept == 2 * tiny_plan.kept
    assert plan.phases[-1].working == tiny_plan.phases[-1].working + tiny_plan.kept
    assert plan.phases[-1].tflop == 2 * tiny_plan.phases[-1].tflop
    assert plan.phases[-1].resident == tiny_plan.phases[-1].resident + 4 * plan.learning
    assert any("moving average" in line for line in plan.lines())


def test_the_time_is_the_least_that_the_work_takes(tiny_model, tiny_plan):
    assert tiny_plan.seconds is None
    recipe = replace(tiny_plan.recipe, gradient_accumulation=3)
    gpu = plan_training(tiny_model, recipe, CUDA, speed=DeviceSpeed(1e-9, 0.0, True))
    assert gpu.seconds == pytest.approx(gpu.phases[-1].tflop / 1e-9)
    busy = plan_training(tiny_model, tiny_plan.recipe, CUDA, speed=DeviceSpeed(1e9, 1e-3, True))
    assert 0.2 < busy.seconds < 20  # some thousand operations of a millisecond


def test_a_measured_speed():
    speed = measure_speed(torch.device("cpu"), torch.float32)
    assert not speed.overlaps
    assert 1e-3 < speed.tflops < 100
    assert 1e-8 < speed.overhead < 1e-3
    assert speed.seconds(1.0, 0) == pytest.approx(1 / speed.tflops)


def test_encoding_costs(tiny_model):
    one, two = (measure_captions(tiny_model.text_encoder, count)[1] for count in (1, 2))
    assert two == pytest.approx(2 * one)
    small, large = (measure_picture(tiny_model.vae, (side, side))[0] for side in (64, 128))
    assert large == pytest.approx(4 * small, rel=0.2)


def test_full_kolors_is_planned_without_weights_or_data(capsys, monkeypatch, tmp_path):
    planned = []

    def plan(model, recipe, device, quantize, **options):
        planned.append((model.name, model.unet.dtype, recipe.batch_size, device.type, quantize))
        raise CourseError("enough")

    monkeypatch.setattr(command, "plan_training", plan)
    monkeypatch.setenv("KOLORS_PROFILE", "kolors")
    monkeypatch.delenv("KOLORS_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["train-lora", "--plan", "24", "--precision", "bf16", "--quantize", "nf4"]) == 2
    assert planned == [("Kolors", torch.bfloat16, 1, "cuda", "nf4")]


def test_a_plan_of_the_model_at_hand(capsys, tiny_profile, tmp_path):
    assert main(["train-lora", "--plan", "4", "--json", str(tmp_path / "plan.json")]) == 0
    out = capsys.readouterr().out
    assert "TFLOP a step" in out
    assert re.search(
        r"\d+ steps, each at least [\d.e-]+ seconds on this machine: [\d.]+ minutes or more", out
    )
    assert "it fits into 4 GiB" in out
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert [phase["name"] for phase in plan["phases"]] == ["encode captions", "encode pictures", "train"]
    assert main(["train-lora"]) == 2
    assert "--dataset_path is missing" in capsys.readouterr().err
