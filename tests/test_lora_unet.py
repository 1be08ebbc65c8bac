"""LoRA on a tiny U-Net with the structure of Kolors: training side, files, strengths, stock diffusers."""

import copy
import dataclasses
import functools

import pytest
import torch
from diffusers import KolorsPipeline, UNet2DConditionModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from kolors_course.errors import CourseError
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    load_lora,
    load_lora_state_dict,
    lora_parameters,
    lora_state_dict,
    merge_lora,
    save_lora,
    set_lora_strengths,
    unload_lora,
)

ORIGIN = {"base_model": "kolors-mini", "dataset_hash": "abc123"}
SETTINGS = LoraSettings(rank=3, alpha=1.5)
RSLORA = LoraSettings(rank=3, alpha=1.5, use_rslora=True)
DORA = LoraSettings(rank=3, alpha=1.5, use_dora=True)
# Every kind of layer that a Kolors LoRA file may touch: attention, feed-forward and convolutions.
WIDE = LoraSettings(rank=2, alpha=1.0, target_modules=("to_q", "ff.net.0.proj", "conv1", "conv_shortcut"))
# float32 through about 20 layers of activations of size 1: two ways of adding the same numbers.
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# What Kolors' U-Net and the tiny one share.
KOLORS_STRUCTURE = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text_time",
    "use_linear_projection": True,
}
KOLORS_SIZES = {
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "encoder_hid_dim": 4096,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 5632,
}


def build_unet(cross_attention_dim: int = 16) -> UNet2DConditionModel:
    """Kolors in small, with new random weights."""
    return UNet2DConditionModel(
        **KOLORS_STRUCTURE,
        sample_size=8,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        transformer_layers_per_block=[1, 1, 2],
        attention_head_dim=[2, 4, 4],
        norm_num_groups=4,
        cross_attention_dim=cross_attention_dim,
        encoder_hid_dim=24,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 24,
    )


UNTRAINED = build_unet().eval()


def tiny_unet() -> UNet2DConditionModel:
    """A new U-Net with the same weights at every call."""
    return copy.deepcopy(UNTRAINED)


@pytest.fixture
def unet() -> UNet2DConditionModel:
    return tiny_unet()


@torch.no_grad()
def predict(unet: nn.Module) -> torch.Tensor:
    """The U-Net's output (2, 4, 8, 8) for one fixed input."""
    generator, dtype = seeded(9), unet.dtype
    latents = torch.randn(2, 4, 8, 8, generator=generator).to(dtype)
    prompt_embeds = torch.randn(2, 5, 24, generator=generator).to(dtype)
    conditions = {
        "text_embeds": torch.randn(2, 24, generator=generator).to(dtype),
        "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2, dtype=dtype),
    }
    return unet(latents, torch.tensor([100, 700]), prompt_embeds, added_cond_kwargs=conditions).sample


@functools.cache
def trained_unet(settings: LoraSettings = SETTINGS, seed: int = 0) -> UNet2DConditionModel:
    """A U-Net whose LoRA has an effect: B is not zero any more, and DoRA's lengths have moved.

    Shared between tests: to be read, not changed.
    """
    unet = tiny_unet()
    add_lora(unet, settings, generator=seeded(seed))
    generator = seeded(seed + 100)
    with torch.no_grad():
        for name, tensor in lora_state_dict(unet).items():
            if "lora_A" not in name:
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return unet


def trained_file(folder, settings: LoraSettings = SETTINGS, seed: int = 0, name: str = "ink"):
    return save_lora(folder / f"{name}.safetensors", trained_unet(settings, seed), settings, **ORIGIN)


def rewrite(path, tensors):
    """Replace the tensors of a LoRA file and keep its metadata as `SETTINGS` gives it."""
    state = {name.removeprefix("unet."): tensor for name, tensor in tensors.items()}
    return save_lora(path, state, SETTINGS, **ORIGIN)


# --- attaching -----------------------------------------------------------------------------------------


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


# --- files and strengths -------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [SETTINGS, RSLORA, DORA, WIDE])
def test_loaded_file_computes_what_was_trained(tmp_path, unet, settings):
    trained = trained_unet(settings)
    path = save_lora(tmp_path / "ink.safetensors", trained, settings, **ORIGIN)
    base = predict(unet)
    report = load_lora(unet, path)
    assert report.matched == report.expected == len(lora_state_dict(trained))
    assert (report.adapter_name, report.strength, report.settings) == ("ink_1", 1.0, settings)
    assert report.base_model == "kolors-mini"
    loaded = lora_state_dict(unet, report.adapter_name)
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in lora_state_dict(trained).items())
    assert torch.equal(predict(unet), predict(trained))
    assert (predict(unet) - base).abs().max() > 0.01
    assert not any(parameter.requires_grad for parameter in lora_parameters(unet, report.adapter_name))


@pytest.mark.parametrize("settings", [SETTINGS, RSLORA, DORA, WIDE])
def test_stock_pipeline_loads_the_file_at_the_same_strength(tmp_path, unet, settings):
    path = trained_file(tmp_path, settings)
    stock = tiny_unet()
    pipeline = KolorsPipeline(vae=None, text_encoder=None, tokenizer=None, unet=stock, scheduler=None)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="ink")
    load_lora(unet, path)
    assert torch.equal(predict(stock), predict(unet))
    stock.set_adapters(["ink"], weights=[0.3])
    set_lora_strengths(unet, {"ink_1": 0.3})
    assert torch.equal(predict(stock), predict(unet))


def test_strength_zero_is_off_and_unloading_restores_the_unet(tmp_path, unet):
    before = predict(unet)
    path = trained_file(tmp_path)
    load_lora(unet, path, strength=0.0)
    assert torch.equal(predict(unet), before)
    set_lora_strengths(unet, {"ink_1": 1.0})
    assert not torch.allclose(predict(unet), before, **CLOSE)
    unload_lora(unet)
    unload_lora(unet)
    assert torch.equal(predict(unet), before)
    assert unet.state_dict().keys() == tiny_unet().state_dict().keys()
    assert load_lora(unet, path).adapter_name == "ink_1"


@pytest.mark.parametrize(
    ("settings", "strength"), [(SETTINGS, 1.0), (SETTINGS, -0.7), (RSLORA, 0.4), (WIDE, 0.4)]
)
def test_strength_is_a_factor_of_the_weight_change(tmp_path, unet, settings, strength):
    path = trained_file(tmp_path, settings)
    load_lora(unet, path, strength)
    by_hand = tiny_unet()
    tensors = {name.removeprefix("unet."): tensor for name, tensor in load_file(path).items()}
    with torch.no_grad():
        for name, layer in by_hand.named_modules():
            if f"{name}.lora_A.weight" in tensors:
                A, B = (tensors[f"{name}.lora_{factor}.weight"].flatten(1) for factor in "AB")
                layer.weight += strength * settings.scale * (B @ A).reshape(layer.weight.shape)
    torch.testing.assert_close(predict(unet), predict(by_hand), **CLOSE)
    layers = merge_lora(unet)
    assert layers == len(tensors) // 2
    assert unet.state_dict().keys() == by_hand.state_dict().keys()
    for name, weight in by_hand.state_dict().items():
        torch.testing.assert_close(unet.state_dict()[name], weight, atol=1e-6, rtol=1e-6)


def test_merged_dora_computes_the_same(tmp_path, unet):
    load_lora(unet, trained_file(tmp_path, DORA), 0.6)
    expected = predict(unet)
    merge_lora(unet)
    torch.testing.assert_close(predict(unet), expected, **CLOSE)


def test_two_loras_add_up(tmp_path, unet):
    other = LoraSettings(rank=5, alpha=2.0, target_modules=("to_v", "conv1"))
    ink, neon = trained_file(tmp_path, SETTINGS, 1, "ink"), trained_file(tmp_path, other, 2, "neon")
    base = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    changes = []
    for path, strength in ((ink, 0.5), (neon, -0.25)):
        alone = tiny_unet()
        load_lora(alone, path, strength)
        merge_lora(alone)
        changes.append({name: tensor - base[name] for name, tensor in alone.state_dict().items()})
        load_lora(unet, path, strength)
    both = predict(unet)
    by_hand = tiny_unet()
    by_hand.load_state_dict({name: base[name] + changes[0][name] + changes[1][name] for name in base})
    torch.testing.assert_close(both, predict(by_hand), **CLOSE)
    merge_lora(unet)
    torch.testing.assert_close(predict(unet), both, **CLOSE)


def test_loading_a_second_lora_keeps_the_strength_of_the_first(tmp_path, unet):
    path = trained_file(tmp_path)
    load_lora(unet, path, 0.5)
    expected = predict(unet)
    assert load_lora(unet, path, 0.0).adapter_name == "ink_2"
    assert torch.equal(predict(unet), expected)


def test_training_goes_on_around_loaded_loras(tmp_path, unet):
    load_lora(unet, trained_file(tmp_path), 0.5)
    expected = predict(unet)
    add_lora(unet, SETTINGS, generator=seeded())
    assert torch.equal(predict(unet), expected)
    load_lora(unet, trained_file(tmp_path, seed=1, name="neon"), 0.0)
    trained = {id(parameter) for parameter in unet.parameters() if parameter.requires_grad}
    assert trained == {id(parameter) for parameter in lora_parameters(unet)}


def test_file_names_become_adapter_names(tmp_path, unet):
    for stem, adapter_name in (("train", "train_1"), ("水墨 v1.2", "水墨_v1_2_1"), ("lora_A", "lora_A_1")):
        assert load_lora(unet, trained_file(tmp_path, name=stem)).adapter_name == adapter_name
    assert load_lora(unet, tmp_path / "train.safetensors", adapter_name="mine").adapter_name == "mine"


def test_loading_leaves_the_global_generator_alone(tmp_path, unet):
    path = trained_file(tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_lora(unet, path)
    assert torch.equal(torch.rand(3), expected)


def test_alpha_is_passed_on(tmp_path, unet):
    path = trained_file(tmp_path)
    save_file(load_file(path), path)
    with pytest.raises(CourseError, match="does not say its alpha"):
        load_lora(unet, path)
    load_lora(unet, path, alpha=SETTINGS.alpha)
    assert torch.equal(predict(unet), predict(trained_unet()))


# --- files that do not fit -----------------------------------------------------------------------------


@pytest.fixture
def untouched(unet):
    """Fails the test if the U-Net was changed by it."""
    before = predict(unet)
    yield
    assert not hasattr(unet, "peft_config")
    assert torch.equal(predict(unet), before)


@pytest.mark.usefixtures("untouched")
def test_lora_of_another_network_matches_nothing(tmp_path, unet):
    path = trained_file(tmp_path)
    rewrite(path, {name.replace("unet.", "single_blocks."): t for name, t in load_file(path).items()})
    with pytest.raises(
        CourseError, match=r"(\d+) of \1 tensors name layers.*first: single_blocks.*kolors-mini"
    ):
        load_lora(unet, path)


@pytest.mark.usefixtures("untouched")
def test_lora_that_matches_in_part(tmp_path, unet):
    path = trained_file(tmp_path)
    tensors = load_file(path)
    # The middle block has two transformer layers of two attentions, of 4 layers with an A and a B each.
    rewrite(path, {name.replace("mid_block.", "mid_block.9."): tensor for name, tensor in tensors.items()})
    with pytest.raises(CourseError, match=rf"32 of {len(tensors)} tensors .*mid_block\.9.*kolors-mini"):
        load_lora(unet, path)


@pytest.mark.usefixtures("untouched")
def test_lora_that_lacks_layers(tmp_path, unet):
    path = trained_file(tmp_path)
    rewrite(path, {name: t for name, t in load_file(path).items() if "up_blocks.1" not in name})
    with pytest.raises(CourseError, match=r"disagree about \d+ tensors.*first: up_blocks\.1.*kolors-mini"):
        load_lora(unet, path)


@pytest.mark.usefixtures("untouched")
def test_lora_with_layers_outside_its_targets(tmp_path, unet):
    settings = dataclasses.replace(SETTINGS, target_modules=("to_q",))
    path = save_lora(tmp_path / "ink.safetensors", trained_unet(), settings, **ORIGIN)
    with pytest.raises(CourseError, match="target modules disagree"):
        load_lora(unet, path)


def test_lora_of_a_wider_network(tmp_path):
    wider, path = build_unet(cross_attention_dim=20), trained_file(tmp_path)
    with pytest.raises(CourseError, match=r"to_k\.lora_A\.weight is \(3, 16\), but .* needs \(3, 20\).*mini"):
        load_lora(wider, path)
    assert not hasattr(wider, "peft_config")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("strength", [float("nan"), float("inf"), "0.5", None])
def test_bad_strength(tmp_path, unet, strength):
    with pytest.raises(CourseError, match="strength must be a finite number"):
        load_lora(unet, trained_file(tmp_path), strength)


def test_strength_of_an_unknown_lora(tmp_path, unet):
    with pytest.raises(CourseError, match=r"no LoRA called ink_1 is loaded \(loaded: none\)"):
        set_lora_strengths(unet, {"ink_1": 1.0})
    load_lora(unet, trained_file(tmp_path))
    expected = predict(unet)
    with pytest.raises(CourseError, match=r"no LoRA called neon is loaded \(loaded: ink_1\)"):
        set_lora_strengths(unet, {"ink_1": 0.0, "neon": 1.0})
    assert torch.equal(predict(unet), expected)


def test_merging_needs_a_lora_and_finite_weights(tmp_path, unet):
    with pytest.raises(CourseError, match="no LoRA to merge"):
        merge_lora(unet)
    load_lora(unet, trained_file(tmp_path), strength=1e39)
    with pytest.raises(CourseError, match="load the U-Net again"):
        merge_lora(unet)
