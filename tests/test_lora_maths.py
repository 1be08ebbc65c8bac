"""The settings, the command-line forms, and the from-scratch maths against peft."""

import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from kolors_course.errors import CourseError
from kolors_course.lora import (
    LoRALinear,
    LoraSettings,
    lora_delta,
    merged_weight,
    parse_lora_argument,
    parse_target_modules,
)
from kolors_course.lora.maths import turn_and_stretch

# float64 sums of a few dozen terms of size 1: only the order of additions differs between the two ways.
EXACT = {"atol": 1e-12, "rtol": 0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(bias: bool = True) -> nn.Linear:
    layer = nn.Linear(12, 8, bias=bias, dtype=torch.float64)
    nn.init.normal_(layer.weight, generator=seeded(1))
    return layer


@pytest.mark.parametrize(
    ("rank", "alpha", "use_rslora", "scale"),
    [(16, 4.0, False, 0.25), (16, 4.0, True, 1.0), (4, 4, False, 1.0), (2, 3.0, True, 3 / math.sqrt(2))],
)
def test_scale(rank, alpha, use_rslora, scale):
    assert LoraSettings(rank=rank, alpha=alpha, use_rslora=use_rslora).scale == pytest.approx(scale)


def test_settings_are_frozen_and_independent_of_the_callers_list():
    names = ["to_q"]
    settings = LoraSettings(target_modules=names)
    names.append("to_k")
    assert settings.target_modules == ("to_q",)
    assert hash(settings) == hash(LoraSettings(target_modules=("to_q",)))
    with pytest.raises(FrozenInstanceError):
        settings.rank = 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank": 0}, "rank"),
        ({"rank": 2.0}, "rank"),
        ({"rank": True}, "rank"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"alpha": math.inf}, "alpha"),
        ({"alpha": "4"}, "alpha"),
        ({"target_modules": ()}, "target_modules"),
        ({"target_modules": "to_q"}, "target_modules"),
        ({"target_modules": ("to_q", "")}, "target_modules"),
        ({"init": "pissa"}, "init"),
    ],
)
def test_settings_refuse_bad_values(values, message):
    with pytest.raises(CourseError, match=message):
        LoraSettings(**values)


def test_target_modules_of_the_camps_command():
    assert parse_target_modules("to_q,to_k,to_v,to_out") == ("to_q", "to_k", "to_v", "to_out.0")
    assert parse_target_modules(" attn1.to_out , to_q") == ("attn1.to_out.0", "to_q")
    assert parse_target_modules("to_out,to_out.0") == ("to_out.0",)


@pytest.mark.parametrize("text", ["", " ", "to_q,,to_k", "to_q,"])
def test_target_modules_refuse_empty_names(text):
    with pytest.raises(CourseError, match="a name is empty"):
        parse_target_modules(text)


@pytest.mark.parametrize(
    ("text", "file", "strength"),
    [
        ("ink.safetensors", "ink.safetensors", 1.0),
        ("ink.safetensors:0.8", "ink.safetensors", 0.8),
        ("ink.safetensors:-1", "ink.safetensors", -1.0),
        ("ink.safetensors:1e-1", "ink.safetensors", 0.1),
        (r"C:\loras\ink.safetensors", r"C:\loras\ink.safetensors", 1.0),
        (r"C:\loras\ink.safetensors:.5", r"C:\loras\ink.safetensors", 0.5),
        ("C:ink.safetensors", "C:ink.safetensors", 1.0),
        ("C:/loras/ink.safetensors:2", "C:/loras/ink.safetensors", 2.0),
        ("a:b/ink.safetensors", "a:b/ink.safetensors", 1.0),
        ("run:0.5/ink.safetensors", "run:0.5/ink.safetensors", 1.0),
        ("水墨.safetensors:0.7", "水墨.safetensors", 0.7),
        ("ink:v2:1", "ink:v2", 1.0),
    ],
)
def test_lora_argument(text, file, strength):
    assert parse_lora_argument(text) == (Path(file), strength)


@pytest.mark.parametrize("strength", ["", "strong", "0,8", "0.8x", "nan", "inf", "-inf"])
def test_lora_argument_refuses_bad_strengths(strength):
    with pytest.raises(CourseError, match=f"strength '{strength}' is not.*for example ink.safetensors:0.8"):
        parse_lora_argument(f"ink.safetensors:{strength}")


@pytest.mark.parametrize("text", ["", ":", ":0.5"])
def test_lora_argument_needs_a_file(text):
    with pytest.raises(CourseError, match="file name is missing"):
        parse_lora_argument(text)


def test_delta_is_the_scaled_product():
    A = torch.tensor([[1.0, 2.0, 3.0]])
    B = torch.tensor([[1.0], [-1.0]])
    assert torch.equal(
        lora_delta(A, B, alpha=0.5, rank=1), torch.tensor([[0.5, 1.0, 1.5], [-0.5, -1.0, -1.5]])
    )


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_lora_linear_equals_peft_in_forward_gradient_and_merge(rslora, bias):
    ours = LoRALinear(linear(bias), rank=4, alpha=3.0, generator=seeded(), rslora=rslora)
    config = LoraConfig(r=4, lora_alpha=3.0, target_modules=["0"], use_rslora=rslora)
    theirs = inject_adapter_in_model(config, nn.Sequential(linear(bias)))
    with torch.no_grad():
        ours.lora_B.normal_(generator=seeded(2))
        theirs[0].lora_A["default"].weight.copy_(ours.lora_A)
        theirs[0].lora_B["default"].weight.copy_(ours.lora_B)
        if bias:
            theirs[0].base_layer.bias.copy_(ours.base.bias)
    x = torch.randn(5, 3, 12, dtype=torch.float64, generator=seeded(3))
    torch.testing.assert_close(ours(x), theirs(x), **EXACT)

    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    # Gradients are sums of hundreds of products, up to about 1e4 in size.
    torch.testing.assert_close(ours.lora_A.grad, theirs[0].lora_A["default"].weight.grad, atol=0, rtol=1e-10)
    torch.testing.assert_close(ours.lora_B.grad, theirs[0].lora_B["default"].weight.grad, atol=0, rtol=1e-10)
    assert ours.base.weight.grad is None

    theirs[0].merge()
    merged = ours.merge()
    torch.testing.assert_close(merged.weight, theirs[0].base_layer.weight, **EXACT)
    torch.testing.assert_close(merged(x), ours(x), **EXACT)
    weight = merged_weight(ours.base.weight, ours.lora_A, ours.lora_B, 3.0, 4, rslora)
    torch.testing.assert_close(merged.weight, weight, **EXACT)


def test_lora_linear_starts_as_the_frozen_layer_and_follows_the_generator():
    x = torch.randn(2, 12, dtype=torch.float64, generator=seeded(3))
    first, again, other = (LoRALinear(linear(), 4, 4.0, seeded(seed)) for seed in (7, 7, 8))
    assert torch.equal(first(x), first.base(x))
    assert torch.equal(first.lora_A, again.lora_A)
    assert not torch.equal(first.lora_A, other.lora_A)
    assert {name for name, p in first.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}


def test_strength_scales_the_change_of_the_merged_weight():
    W, A, B = (
        torch.randn(*shape, dtype=torch.float64, generator=seeded()) for shape in ((8, 12), (2, 12), (8, 2))
    )
    full = merged_weight(W, A, B, alpha=4.0, rank=2) - W
    third = merged_weight(W, A, B, alpha=4.0, rank=2, strength=0.3) - W
    torch.testing.assert_close(third, 0.3 * full, **EXACT)
    assert torch.linalg.matrix_rank(full) == 2


def test_turning_and_stretching_by_hand():
    weight = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    stretch = turn_and_stretch(weight, weight)  # twice as long, not turned
    assert stretch == pytest.approx((0.0, 1.0))
    turn = turn_and_stretch(
        weight, torch.tensor([[-2.0, 2.0], [1.0, -1.0]])
    )  # by 90 degrees, as long as before
    assert turn == pytest.approx((1.0, 0.0))
