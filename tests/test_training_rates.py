"""How fast what learns: LoRA+, a rate of the text encoder's own; and dropout inside a LoRA."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from tiny import QUICK, train_interrupted

from kolors_course.errors import CourseError
from kolors_course.lora import LoraSettings
from kolors_course.lora.adapter import named_lora_parameters
from kolors_course.training.dropout import LoraDropout
from kolors_course.training.lora import train_lora
from kolors_course.training.optimizers import (
    LearningRates,
    OptimizerSettings,
    build_optimizer,
    parameter_groups,
)
from kolors_course.training.recipe import LoraTraining


def groups_of(optimizer) -> dict[float, set[int]]:
    """Learning rate -> the tensors that learn at it."""
    return {
        group["lr"]: {id(tensor) for tensor in group["params"]}
        for group in optimizer.param_groups
        if group["params"]
    }


@pytest.mark.parametrize("use_dora", [False, True])
def test_the_groups_of_lora_plus_are_pefts(use_dora):
    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
    model = get_peft_model(network, LoraConfig(r=2, target_modules=["0", "1"], use_dora=use_dora))
    theirs = create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16)
    learning = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    rates = LearningRates(1e-3, 1e-3, ratio=16)
    ours = build_optimizer(OptimizerSettings(), parameter_groups([learning], rates), 0.0)
    assert groups_of(ours) == groups_of(theirs)
    assert len(groups_of(ours)) == 2


def test_without_lora_plus_there_is_one_group_in_the_layers_order():
    tensors = {f"{i}.lora_{x}.weight": torch.nn.Parameter(torch.zeros(2, 2)) for i in (0, 1) for x in "AB"}
    (group,) = parameter_groups([tensors], LearningRates(0.1, 0.1))
    assert [id(tensor) for tensor in group["params"]] == [id(tensor) for tensor in tensors.values()]


def test_the_text_encoder_learns_at_its_own_rate(tiny_model, tiny_pictures, tmp_path):
    rates = {}

    def note(trainer):
        for group in trainer.learner.groups():
            rates[group["lr"]] = {id(tensor) for tensor in group["params"]}
        networks = (named_lora_parameters(net) for net in (tiny_model.unet, tiny_model.text_encoder))
        assert [rates[1e-2], rates[1e-9]] == [{id(p) for p in network.values()} for network in networks]

    recipe = replace(QUICK, text_encoder_lora=True, text_learning_rate=1e-9)
    state = load_file(train_lora(tiny_model, tiny_pictures, tmp_path, recipe, start=note).path)
    assert len(rates) == 2
    text = [t for name, t in state.items() if name.startswith("text_encoder.") and "lora_B" in name]
    unet = [t for name, t in state.items() if name.startswith("unet.") and "lora_B" in name]
    assert max(float(t.abs().max()) for t in text) < 1e-7 < 1e-3 < max(float(t.abs().max()) for t in unet)


OPTIONS = {
    "LoRA+": {"loraplus_ratio": 8.0},
    "dropout": {"lora_dropout": 0.3},
    "dropout and checkpointing": {"lora_dropout": 0.3, "gradient_checkpointing": True},
    "all, with DoRA": {
        "loraplus_ratio": 4.0,
        "lora_dropout": 0.2,
        "settings": LoraSettings(4, 8.0, use_dora=True),
    },
}


@pytest.mark.parametrize("what", OPTIONS)
def test_an_interrupted_run_with_it_continues_bit_for_bit(what, tiny_model, tiny_pictures, tmp_path, quick):
    recipe = replace(QUICK, **OPTIONS[what])
    whole = train_lora(tiny_model, tiny_pictures, tmp_path / "whole", recipe)
    parts = train_interrupted(tiny_model, tiny_pictures, tmp_path / "parts", recipe)
    assert whole.losses == parts.losses != quick.losses
    one, two = load_file(whole.path), load_file(parts.path)
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_checkpointing_leaves_out_the_same(tiny_model, tiny_pictures, tmp_path):
    results = [
        train_lora(
            tiny_model,
            tiny_pictures,
            tmp_path / str(checkpointing),
            replace(QUICK, lora_dropout=0.5, gradient_checkpointing=checkpointing),
        )
        for checkpointing in (False, True)
    ]
    assert [loss for _, loss in results[0].losses] == pytest.approx(
        [loss for _, loss in results[1].losses], rel=1e-4
    )


def test_dropout_leaves_out_its_share_only_while_drawing(tiny_model, tiny_pictures, tmp_path):
    def look(trainer):
        (layer, *_), before = trainer.learner.dropout.layers, torch.random.get_rng_state()
        ones = torch.ones(10_000)
        assert torch.equal(layer(ones), ones)
        with trainer.learner.dropout.drawing(trainer.model.device, 0, 1, 0):
            first = layer(ones)
        with trainer.learner.dropout.drawing(trainer.model.device, 0, 2, 0):
            second = layer(ones)
        assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
        assert not torch.equal(first, second)
        assert torch.equal(layer(ones), ones)
        assert torch.equal(torch.random.get_rng_state(), before)

    train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, steps=1, lora_dropout=0.25), start=look)


def test_no_dropout_touches_nothing(tiny_model):
    assert LoraDropout([tiny_model.unet], 0.0).layers == []


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ({"lora_dropout": 1.0}, "lora_dropout"),
        ({"loraplus_ratio": 0.5}, "loraplus_ratio"),
        ({"text_learning_rate": 1e-4}, "needs a LoRA of the text encoder"),
        ({"lora_dropout": 0.1, "settings": LoraSettings(4, 4.0, adapter="loha")}, "not for LoHa"),
        ({"loraplus_ratio": 2.0, "optimizer": OptimizerSettings("prodigy")}, "prodigy"),
    ],
)
def test_what_does_not_go_together_is_refused(bad, fault):
    with pytest.raises(CourseError, match=fault):
        LoraTraining(**bad)
