"""LoRA files on a tiny U-Net with the structure of Kolors: strengths, several at once, stock diffusers, faults."""

import dataclasses

import pytest
import torch
from diffusers import KolorsPipeline, UNet2DConditionModel
from lora_unet import (
    CLOSE,
    DORA,
    ORIGIN,
    RSLORA,
    SETTINGS,
    WIDE,
    build_unet,
    predict,
    rewrite,
    seeded,
    tiny_unet,
    trained_file,
    trained_unet,
)
from safetensors.torch import load_file, save_file

from kolors_course.errors import CourseError
from kolors_course.kolors import load_model
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    join_parts,
    load_lora,
    lora_parameters,
    lora_state_dict,
    merge_lora,
    save_lora,
    set_lora_strengths,
    share_weights,
    text_settings,
    unload_lora,
)
from kolors_course.lora.adapter import active_adapters, loaded_adapters, lora_layers


@pytest.fixture
def unet() -> UNet2DConditionModel:
    return tiny_unet()


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


@pytest.mark.parametrize("settings", [SETTINGS, DORA])
def test_a_second_unet_on_the_same_weights_has_loras_of_its_own(tmp_path, unet, settings):
    path = trained_file(tmp_path, settings)
    base, first = predict(unet), share_weights(unet)
    name = load_lora(first, path, 0.5).adapter_name
    half = predict(first)
    second = share_weights(first)
    set_lora_strengths(second, {name: -1.0})
    load_lora(second, path)
    assert torch.equal(predict(unet), base)
    assert torch.equal(predict(first), half)
    assert not torch.equal(predict(second), half)
    unload_lora(second)
    assert torch.equal(predict(second), base)
    assert torch.equal(predict(first), half)
    tensors = {tensor.data_ptr() for tensor in unet.parameters()}
    assert tensors <= {tensor.data_ptr() for tensor in first.parameters()}


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


@pytest.fixture
def joint(tmp_path, tiny_folder):
    """A model, and a file that adapts its U-Net and its text encoder."""
    model, settings = load_model(tiny_folder), LoraSettings(2, 2.0)
    parts = []
    for module, own in ((model.unet, settings), (model.text_encoder, text_settings(settings))):
        add_lora(module, own, generator=seeded())
        parts.append({name: tensor.clone() for name, tensor in lora_state_dict(module).items()})
        unload_lora(module)
    return model, save_lora(tmp_path / "joint.safetensors", join_parts(*parts), settings, **ORIGIN)


def test_a_joint_file_gets_a_name_that_is_free_in_both(joint):
    model, path = joint
    load_lora(model.unet, path, text_encoder=model.text_encoder)
    unload_lora(model.unet)
    report = load_lora(model.unet, path, text_encoder=model.text_encoder)
    assert report.adapter_name == "joint_2"
    assert loaded_adapters(model.text_encoder) == ["joint_1", "joint_2"]


def test_a_name_that_is_taken_in_one_is_refused_before_anything_is_attached(joint):
    model, path = joint
    load_lora(model.unet, path, text_encoder=model.text_encoder, adapter_name="mine")
    unload_lora(model.unet)
    with pytest.raises(CourseError, match="'mine' is already loaded"):
        load_lora(model.unet, path, text_encoder=model.text_encoder, adapter_name="mine")
    assert loaded_adapters(model.unet) == []
    assert loaded_adapters(model.text_encoder) == ["mine"]


@pytest.mark.parametrize("others", [False, True])
def test_a_failure_in_the_second_part_takes_the_first_off(joint, monkeypatch, others):
    model, path = joint
    modules = (model.unet, model.text_encoder)
    if others:
        load_lora(model.unet, path, text_encoder=model.text_encoder, adapter_name="before")
    names, layers = [loaded_adapters(m) for m in modules], [len(lora_layers(m)) for m in modules]
    active, keys = [active_adapters(m) for m in modules], [m.state_dict().keys() for m in modules]

    def fails_for_text(module, state, adapter_name):
        if module is model.text_encoder:
            raise MemoryError

    monkeypatch.setattr("kolors_course.lora.loading.load_lora_state_dict", fails_for_text)
    with pytest.raises(MemoryError):
        load_lora(model.unet, path, text_encoder=model.text_encoder)
    assert [loaded_adapters(m) for m in modules] == names
    assert [len(lora_layers(m)) for m in modules] == layers
    assert [active_adapters(m) for m in modules] == active
    assert [m.state_dict().keys() for m in modules] == keys
