"""LoKr and LoHa: the same ΔW as peft, files that load strictly, training that resumes, and clear refusals."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import QUICK, train_interrupted

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.kolors import load_model
from kolors_course.kolors.skeleton import kolors_skeleton
from kolors_course.libraries import installed, numbers
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    combine_loras,
    inspect_lora,
    load_lora,
    lora_parameters,
    lora_state_dict,
    merge_into_model,
    merge_lora,
    read_lora,
    save_lora,
    target_layers,
    unload_lora,
    write_lora,
)
from kolors_course.lora.adapter import lora_layers
from kolors_course.lora.kinds import part_shapes, weight_change
from kolors_course.training.lora import train_lora

LYCORIS = ("lokr", "loha")
# With convolutions, so that both shapes of every kind are met.
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv_shortcut")


def random_adapter(unet, settings, name="default"):
    add_lora(unet, settings, generator=torch.Generator().manual_seed(0), adapter_name=name)
    for parameter in lora_parameters(unet, name):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def unet(tiny_folder):
    return load_model(tiny_folder).unet


@pytest.fixture(scope="module", params=LYCORIS)
def file(request, tiny_folder, tmp_path_factory):
    unet, settings = load_model(tiny_folder).unet, LoraSettings(3, 6.0, TARGETS, adapter=request.param)
    random_adapter(unet, settings)
    path = tmp_path_factory.mktemp("kinds") / f"{request.param}.safetensors"
    return save_lora(path, unet, settings, base_model="tiny", dataset_hash="0" * 64)


@torch.no_grad()
def noise(unet):
    generator = torch.Generator().manual_seed(2)
    sample, text, pooled = (
        torch.randn(shape, generator=generator) for shape in ((1, 4, 8, 8), (1, 5, 96), (1, 96))
    )
    conditions = {"text_embeds": pooled, "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]])}
    return unet(sample, 500, text, added_cond_kwargs=conditions).sample


@pytest.mark.parametrize("kind", ["lora", *LYCORIS])
@pytest.mark.parametrize("rank", [3, 40])  # 40: too much to be worth cutting W₂ of a LoKr in two
def test_shapes_and_change_of_weight_are_those_of_peft(unet, kind, rank):
    settings = LoraSettings(rank, 5.0, TARGETS, adapter=kind)
    layers = target_layers(unet, TARGETS)
    random_adapter(unet, settings)
    state = lora_state_dict(unet)
    shapes = {
        f"{name}.{part}": shape
        for name, layer in layers.items()
        for part, shape in part_shapes(layer, kind, rank).items()
    }
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes
    for name, wrapper in lora_layers(unet):
        ours = settings.scale * weight_change(state, name, kind)
        torch.testing.assert_close(ours, wrapper.get_delta_weight("default").flatten(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", LYCORIS)
def test_the_smaller_numbers_of_full_kolors(kind):
    unet = kolors_skeleton()
    sizes = {}
    for adapter in ("lora", kind):
        settings = LoraSettings(16, 16.0, adapter=adapter)
        assert add_lora(unet, settings, generator=torch.Generator().manual_seed(0)) == 560
        sizes[adapter] = sum(parameter.numel() for parameter in lora_parameters(unet))
        unload_lora(unet)
    assert sizes["lora"] == 23_224_320
    assert sizes[kind] == (2 * sizes["lora"] if kind == "loha" else sizes[kind])
    assert kind == "loha" or sizes[kind] < sizes["lora"] / 8


def test_an_adapter_starts_as_nothing_and_a_file_loads_at_every_strength(unet, file):
    plain = noise(unet)
    kind = read_lora(file).settings.adapter
    add_lora(unet, LoraSettings(3, 6.0, adapter=kind), generator=torch.Generator().manual_seed(0))
    assert torch.equal(noise(unet), plain)
    unload_lora(unet)
    report = load_lora(unet, file, 0.0)
    assert report.matched == report.expected == len(read_lora(file).state_dict)
    torch.testing.assert_close(noise(unet), plain, atol=1e-6, rtol=0)
    unload_lora(unet)
    load_lora(unet, file, 0.5)
    half = noise(unet)
    assert (half - plain).abs().max() > 1e-3
    merge_lora(unet)
    torch.testing.assert_close(noise(unet), half, atol=1e-4, rtol=1e-4)


def test_adapters_of_different_kinds_add_up(unet, file, lora_file):
    changes = {}
    for path in (file, lora_file):
        load_lora(unet, path, 0.3, adapter_name="one")
        changes[path] = {name: w.get_delta_weight("one") for name, w in lora_layers(unet)}
        unload_lora(unet)
    weights = {name: layer.weight.clone() for name, layer in target_layers(unet, TARGETS).items()}
    for path in (file, lora_file):
        load_lora(unet, path, 0.3)
    together = noise(unet)
    merge_lora(unet)
    torch.testing.assert_close(noise(unet), together, atol=1e-4, rtol=1e-4)
    for name, layer in target_layers(unet, TARGETS).items():
        expected = weights[name] + sum(change[name] for change in changes.values() if name in change)
        torch.testing.assert_close(layer.weight, expected, atol=1e-5, rtol=1e-5)


def test_a_merged_model_is_the_same_for_every_program(unet, file, tiny_folder, tmp_path):
    load_lora(unet, file, 0.7)
    merge_into_model(tiny_folder, [(read_lora(file), 0.7)], tmp_path / "merged")
    merged = load_model(tmp_path / "merged").unet
    # The tiny model's weights are kept in half precision.
    torch.testing.assert_close(noise(merged), noise(unet), atol=3e-3, rtol=3e-3)


def test_inspection_and_round_trip(file, unet, tmp_path):
    lora = read_lora(file)
    again = read_lora(write_lora(tmp_path / "again.safetensors", lora))
    assert again.settings == lora.settings
    assert again.state_dict.keys() == lora.state_dict.keys()
    assert all(torch.equal(tensor, again.state_dict[name]) for name, tensor in lora.state_dict.items())
    report = inspect_lora(file)
    assert (report.kind, report.rank, report.alpha, report.scale) == (
        {"lokr": "LoKr", "loha": "LoHa"}[lora.settings.adapter],
        3,
        6.0,
        2.0,
    )
    load_lora(unet, file)
    total = sum(w.get_delta_weight(unet.active_adapters()[0]).square().sum() for _, w in lora_layers(unet))
    assert sum(block.norm**2 for block in report.blocks) == pytest.approx(total.item(), rel=1e-4)
    assert report.tools[0].verdict == "yes"


def test_a_file_that_peft_itself_saves(unet, file, tmp_path):
    """`PeftModel.save_pretrained` writes adapter_model.safetensors with adapter_config.json beside it."""
    lora = read_lora(file)
    load_lora(unet, file)
    config = unet.peft_config[unet.active_adapters()[0]]
    config.save_pretrained(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"base_model.model.{name}": tensor for name, tensor in lora.state_dict.items()}, path)
    read = read_lora(path)
    assert (read.layout, read.settings.adapter, read.settings.rank) == ("peft", lora.settings.adapter, 3)
    assert read.settings.scale == lora.settings.scale
    assert all(torch.equal(tensor, lora.state_dict[name]) for name, tensor in read.state_dict.items())
    report = inspect_lora(path, unet=unet)
    assert [tool.verdict for tool in report.tools] == ["yes", "no", "no", "no", "no"]
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(CourseError, match="does not say its alpha"):
        read_lora(path)
    assert read_lora(path, alpha=6.0).settings.scale == lora.settings.scale


def test_a_rank_that_nothing_tells_is_not_guessed(tmp_path):
    """Of whole matrices W₁ ⊗ W₂ the tensors do not show r."""
    state = {"unet.a.to_q.lokr_w1": torch.ones(2, 2), "unet.a.to_q.lokr_w2": torch.ones(3, 3)}
    save_file(state, tmp_path / "whole.safetensors")
    with pytest.raises(CourseError, match="do not tell its rank.*adapter_config"):
        read_lora(tmp_path / "whole.safetensors", alpha=1.0)


def test_of_a_dora_only_b_a_is_measured(unet, tmp_path):
    """Its ΔW depends on the base weights, which the file does not hold."""
    norms = {}
    for alpha, use_dora in ((2.0, False), (6.0, True)):
        settings = LoraSettings(2, alpha, use_dora=use_dora)
        random_adapter(unet, settings)
        state = {n: t for n, t in lora_state_dict(unet).items() if use_dora or "magnitude" not in n}
        path = save_lora(tmp_path / "x.safetensors", state, settings, base_model="", dataset_hash="")
        unload_lora(unet)
        report = inspect_lora(path)
        heading = next(line for line in report.lines() if line.startswith("block"))
        assert ("‖B A‖" in heading, "‖ΔW‖" in heading) == (use_dora, not use_dora)
        norms[use_dora] = [block.norm for block in report.blocks]
        tensors = {name: tensor.double() for name, tensor in state.items()}
        squares = sum(
            (tensors[name.replace("lora_A", "lora_B")] @ tensor).square().sum().item()
            for name, tensor in tensors.items()
            if "lora_A" in name
        )
        assert sum(norm**2 for norm in norms[use_dora]) == pytest.approx(squares)


def test_stock_diffusers_takes_a_lokr_by_the_way_that_the_report_names(unet, file):
    load_lora(unet, file)
    ours = noise(unet)
    unload_lora(unet)
    verdicts = {tool.name: tool.verdict for tool in inspect_lora(file).tools}
    if read_lora(file).settings.adapter == "loha":
        assert verdicts["diffusers KolorsPipeline"] == "no"
        return
    assert verdicts["diffusers KolorsPipeline"] == "set"
    if numbers(installed("diffusers")) < (0, 42, 0):
        pytest.skip("diffusers reads LoKr files from 0.42 on")
    unet.load_lora_adapter(file, prefix="unet", use_safetensors=True)
    torch.testing.assert_close(noise(unet), ours, atol=1e-5, rtol=1e-5)


def test_what_other_layouts_cannot_hold_is_said_in_one_line(file, unet, tmp_path):
    with pytest.raises(CourseError, match="convert it to kohya, or merge it into a model"):
        write_lora(tmp_path / "out.ckpt", read_lora(file), "diffsynth", unet)
    assert not (tmp_path / "out.ckpt").exists()
    with pytest.raises(CourseError, match="merge it into a model"):
        combine_loras([(read_lora(file), 1.0), (read_lora(file), 1.0)])


def test_in_kohyas_names_the_scale_is_in_the_tensors(file, unet, tmp_path):
    """ComfyUI and LyCORIS ignore `.alpha` where W₂ of a LoKr is whole: 1 is what all of them take."""
    lora = read_lora(file)
    kind, layers = lora.settings.adapter, dict.fromkeys(name.rsplit(".", 1)[0] for name in lora.state_dict)
    path = write_lora(tmp_path / "out.safetensors", lora, "kohya", unet)
    tensors, back = load_file(path), read_lora(path, unet=unet)
    alphas = {float(tensor) for name, tensor in tensors.items() if name.endswith(".alpha")}
    assert (alphas, back.settings.scale, lora.settings.scale) == ({3.0}, 1.0, 2.0)
    assert f"lora_unet_mid_block_resnets_0_conv1.{'lokr_w1' if kind == 'lokr' else 'hada_w1_a'}" in tensors
    for layer in layers:
        torch.testing.assert_close(
            weight_change(back.state_dict, layer, kind), 2 * weight_change(lora.state_dict, layer, kind)
        )
    load_lora(unet, path)
    one = noise(unet)
    unload_lora(unet)
    load_lora(unet, file)
    torch.testing.assert_close(noise(unet), one, atol=1e-4, rtol=1e-4)


def test_rslora_and_dora_are_of_loras_only():
    for option in ({"use_rslora": True}, {"use_dora": True}):
        with pytest.raises(CourseError, match="a LoKr has neither"):
            LoraSettings(adapter="lokr", **option)
    with pytest.raises(CourseError, match="adapter must be one of lora, lokr, loha"):
        LoraSettings(adapter="boft")


@pytest.mark.parametrize("kind", LYCORIS)
def test_training_resumes_bit_for_bit(tiny_model, tiny_pictures, tmp_path, kind):
    recipe = replace(QUICK, settings=LoraSettings(4, 8.0, adapter=kind))

    whole = train_lora(tiny_model, tiny_pictures, tmp_path / "whole", recipe)
    resumed = train_interrupted(tiny_model, tiny_pictures, tmp_path / "parts", recipe)
    one, two = (read_lora(result.path) for result in (whole, resumed))
    assert one.settings == recipe.settings
    assert all(torch.equal(tensor, two.state_dict[name]) for name, tensor in one.state_dict.items())
    assert load_lora(tiny_model.unet, whole.path).matched == len(one.state_dict)
    unload_lora(tiny_model.unet)


def test_the_command_trains_a_lokr(tiny_profile, tiny_pictures, tmp_path):
    flags = ["--adapter", "lokr", "--steps_per_epoch", "1", "--batch_size", "2", "--lora_rank", "2"]
    out = tmp_path / "run"
    assert main(["train-lora", "--dataset_path", str(tiny_pictures), "--output_path", str(out), *flags]) == 0
    assert read_lora(out / "lora.safetensors").settings.adapter == "lokr"
