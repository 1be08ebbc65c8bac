"""Training a LoRA on a tiny U-Net with the structure of Kolors: what is attached, and how it starts."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from lora_unet import (
    DORA,
    KOLORS_SIZES,
    KOLORS_STRUCTURE,
    SETTINGS,
    WIDE,
    predict,
    seeded,
    tiny_unet,
    trained_unet,
)
from peft.utils import get_peft_model_state_dict

from kolors_course.errors import CourseError
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    load_lora_state_dict,
    lora_parameters,
    lora_state_dict,
)


@pytest.fixture
def unet() -> UNet2DConditionModel:
    return tiny_unet()


def test_add_lora_starts_without_effect_and_trains_only_the_lora(unet):
    before = predict(unet)
    attentions = sum(name.endswith((".attn1", ".attn2")) for name, _ in unet.named_modules())
    assert add_lora(unet, SETTINGS, generator=seeded()) == 4 * attentions
    assert torch.equal(predict(unet), before)
    trained = [name for name, parameter in unet.named_parameters() if parameter.requires_grad]
    assert len(trained) == len(lora_parameters(unet)) == 2 * 4 * attentions
    assert all(".lora_A." in name or ".lora_B." in name for name in trained)


def test_size_of_the_camps_lora_on_the_full_kolors():
    with torch.device("meta"):
        full = UNet2DConditionModel(**KOLORS_STRUCTURE, **KOLORS_SIZES)
    # 70 transformer layers * 2 attentions * 4 linear layers; the parameters of a rank-16 .ckpt of the camp.
    assert add_lora(full, LoraSettings(rank=16, alpha=4.0), generator=seeded()) == 560
    assert sum(parameter.numel() for parameter in lora_parameters(full)) == 23_224_320


def test_initialisation_follows_the_generator_and_leaves_the_global_one_alone(unet):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    add_lora(unet, SETTINGS, generator=seeded(3))
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    again, other = tiny_unet(), tiny_unet()
    add_lora(again, SETTINGS, generator=seeded(3))
    add_lora(other, SETTINGS, generator=seeded(4))
    first = lora_state_dict(unet)
    assert all(torch.equal(tensor, lora_state_dict(again)[name]) for name, tensor in first.items())
    assert not any(torch.equal(t, lora_state_dict(other)[n]) for n, t in first.items() if "lora_A" in n)


def test_initial_sizes(unet):
    other = tiny_unet()
    add_lora(unet, LoraSettings(rank=8), generator=seeded())
    add_lora(other, LoraSettings(rank=8, init="kaiming"), generator=seeded())
    gaussian = torch.cat([t.flatten() for n, t in lora_state_dict(unet).items() if "lora_A" in n])
    # About 16 000 draws: their standard deviation is within 3 % of 1/rank.
    assert gaussian.std().item() == pytest.approx(1 / 8, rel=0.03)
    for name, A in lora_state_dict(other).items():
        if "lora_A" in name:
            assert A.abs().max() <= A.shape[1] ** -0.5
    assert not any(t.any() for n, t in lora_state_dict(unet).items() if "lora_B" in n)


def test_lora_stays_float32_on_a_half_precision_unet(unet):
    unet = unet.to(torch.bfloat16)
    add_lora(unet, DORA, generator=seeded())
    assert {parameter.dtype for parameter in lora_parameters(unet)} == {torch.float32}
    assert predict(unet).dtype == torch.bfloat16


def test_gradients_reach_the_lora(unet):
    add_lora(unet, SETTINGS, generator=seeded())
    frozen = {name: p.clone() for name, p in unet.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.SGD(lora_parameters(unet), lr=0.1)
    with torch.enable_grad():
        predict.__wrapped__(unet).square().mean().backward()
    optimizer.step()
    assert all(parameter.grad is not None for parameter in lora_parameters(unet))
    assert any(tensor.any() for name, tensor in lora_state_dict(unet).items() if "lora_B" in name)
    assert all(torch.equal(p, frozen[name]) for name, p in unet.named_parameters() if name in frozen)


@pytest.mark.parametrize("settings", [SETTINGS, DORA, WIDE])
def test_state_dict_is_named_as_in_peft(settings):
    unet = trained_unet(settings)
    theirs = get_peft_model_state_dict(unet)
    ours = lora_state_dict(unet)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("to_x",), "'to_x' names no layer"),
        (("to_q", "to_x"), "'to_x' names no layer"),
        (("o_q",), "'o_q' names no layer"),
        (("to_out",), "'to_out' is of type ModuleList"),
        (("attn1",), "'attn1' is of type Attention"),
    ],
)
def test_targets_must_name_layers(unet, targets, message):
    with pytest.raises(CourseError, match=message):
        add_lora(unet, LoraSettings(target_modules=targets), generator=seeded())
    assert all(parameter.requires_grad for parameter in unet.parameters())


@pytest.mark.parametrize("name", ["", "a.b", "train", "keys"])
def test_adapter_names_that_cannot_be(unet, name):
    with pytest.raises(CourseError, match="cannot name an adapter"):
        add_lora(unet, SETTINGS, generator=seeded(), adapter_name=name)


def test_adapter_name_is_taken_or_unknown(unet):
    with pytest.raises(CourseError, match=r"no LoRA called 'default' \(loaded: none\)"):
        lora_state_dict(unet)
    add_lora(unet, SETTINGS, generator=seeded())
    with pytest.raises(CourseError, match="already loaded"):
        add_lora(unet, SETTINGS, generator=seeded())
    with pytest.raises(CourseError, match=r"no LoRA called 'other' \(loaded: default\)"):
        lora_parameters(unet, "other")


def test_state_can_be_put_back(unet):
    state = lora_state_dict(trained_unet())
    add_lora(unet, SETTINGS, generator=seeded(1))
    load_lora_state_dict(unet, state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in lora_state_dict(unet).items())
    name = next(iter(state))
    before = lora_state_dict(unet)[name].clone()
    for bad in ({name: state[name]}, state | {"x": state[name]}, state | {name: torch.zeros(1, 16)}):
        with pytest.raises(CourseError, match="do not fit the LoRA 'default'"):
            load_lora_state_dict(unet, bad)
    assert torch.equal(lora_state_dict(unet)[name], before)
