"""A kind of adapter that the library has never seen: one class and one line, and its files are read, measured, merged
and written."""

from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file

from kolors_course.errors import CourseError
from kolors_course.kolors import load_model
from kolors_course.lora import (
    LoraSettings,
    add_lora,
    check_fit,
    combine_loras,
    inspect_lora,
    load_lora,
    merge_into_model,
    read_lora,
    read_unet_weights,
    save_lora,
    target_layers,
    write_lora,
)
from kolors_course.lora.choices import KIND_NAMES
from kolors_course.lora.growth import product
from kolors_course.lora.kind import Kind, matrices
from kolors_course.lora.kinds import KINDS, weight_change
from kolors_course.lora.loading import MisfitError

TARGETS = ("to_q", "conv1")  # linear layers and convolutions


class Svd(Kind):
    """ΔW = U diag(σ) V, as AdaLoRA has it (arXiv 2303.10512, equation 3). U is (out, r), σ (r, 1), V (r, in)."""

    name, label = "svd", "SVD"
    parts = ("svd_u", "svd_s", "svd_v")
    rank_axes: ClassVar = {"svd_u": 1, "svd_s": 0, "svd_v": 0}
    scaled = "svd_s"

    def change(self, parts):
        U, s, V = matrices(parts, *self.parts)
        return product(U, s * V)

    def shapes(self, size, rank, use_dora, found):
        return {"svd_u": (size.out, rank), "svd_s": (rank, 1), "svd_v": (rank, size.columns)}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(KINDS, "svd", Svd())


@pytest.fixture
def unet(tiny_folder):
    return load_model(tiny_folder).unet


def random_state(unet, ranks):
    """Tensors of an `Svd` whose layers have these ranks in turn."""
    generator, state = torch.Generator().manual_seed(0), {}
    for number, (name, layer) in enumerate(target_layers(unet, TARGETS).items()):
        rank, weight = ranks[number % len(ranks)], layer.weight.flatten(1)
        shapes = {"svd_u": (len(weight), rank), "svd_s": (rank, 1), "svd_v": (rank, weight.shape[1])}
        for part, shape in shapes.items():
            state[f"{name}.{part}"] = 0.2 * torch.randn(shape, generator=generator)
    return state


def true_change(state, layer):
    """Spelt out independently of the library."""
    U, s, V = (state[f"{layer}.{part}"] for part in ("svd_u", "svd_s", "svd_v"))
    return U @ torch.diag(s[:, 0]) @ V


def layers_of(state):
    return dict.fromkeys(name.rsplit(".", 1)[0] for name in state)


@pytest.fixture
def state(unet):
    return random_state(unet, (3,))


@pytest.fixture
def file(state, tmp_path):
    settings = LoraSettings(3, 6.0, TARGETS, adapter="svd")
    return save_lora(tmp_path / "svd.safetensors", state, settings, base_model="tiny", dataset_hash="0" * 64)


def test_the_command_line_lists_the_kinds_that_there_are():
    assert (*KIND_NAMES, "svd") == tuple(KINDS)


def test_a_file_is_read_as_it_was_written(file, state, unet, tmp_path):
    lora = read_lora(file)
    assert lora.settings == LoraSettings(3, 6.0, TARGETS, adapter="svd")
    assert lora.layout == "diffusers"
    assert lora.state_dict.keys() == state.keys()
    assert all(torch.equal(lora.state_dict[name], tensor) for name, tensor in state.items())
    assert check_fit(unet, lora) == len(state)
    for layer in layers_of(state):
        torch.testing.assert_close(weight_change(state, layer, "svd"), true_change(state, layer))
    again = write_lora(tmp_path / "again.safetensors", lora)
    assert again.read_bytes() == file.read_bytes()


def test_other_programs_names_tell_ranks_and_scales_by_layer(unet, tmp_path):
    """Two ranks and two alphas, as LyCORIS would name them: the same ΔW in one rank and one scale."""
    state, tensors = random_state(unet, (2, 4)), {}
    for name, tensor in state.items():
        layer, part = name.rsplit(".", 1)
        tensors[f"lycoris_{layer.replace('.', '_')}.{part}"] = tensor
        tensors[f"lycoris_{layer.replace('.', '_')}.alpha"] = torch.tensor(1.0 if "conv1" in layer else 8.0)
    save_file(tensors, tmp_path / "theirs.safetensors")
    lora = read_lora(tmp_path / "theirs.safetensors", unet=unet)
    assert (lora.layout, lora.settings.adapter, lora.settings.rank) == ("lycoris", "svd", 4)
    for layer in layers_of(state):
        rank = len(state[f"{layer}.svd_s"])
        expected = (1.0 if "conv1" in layer else 8.0) / rank * true_change(state, layer)
        assert torch.linalg.matrix_rank(expected) == rank
        ours = lora.settings.scale * weight_change(lora.state_dict, layer, "svd")
        torch.testing.assert_close(ours, expected)


def test_for_kohya_the_scale_goes_into_the_factor_that_takes_one(file, state, unet, tmp_path):
    path = write_lora(tmp_path / "kohya.safetensors", read_lora(file), "kohya", unet)
    tensors = load_file(path)
    layer = next(name for name in layers_of(state) if name.endswith("to_q"))
    stem = f"lora_unet_{layer.replace('.', '_')}"
    assert torch.equal(tensors[f"{stem}.svd_s"], 2 * state[f"{layer}.svd_s"])
    assert torch.equal(tensors[f"{stem}.svd_u"], state[f"{layer}.svd_u"])
    back = read_lora(path, unet=unet)
    assert (back.settings.adapter, back.settings.scale) == ("svd", 1.0)


def test_the_report_measures_it_and_names_no_program_that_does_not_know_it(file, state, unet):
    report = inspect_lora(file, unet=unet)
    assert (report.kind, report.rank, report.scale, report.fits) == ("SVD", 3, 2.0, True)
    total = sum((2.0 * true_change(state, layer)).square().sum().item() for layer in layers_of(state))
    assert sum(block.norm**2 for block in report.blocks) == pytest.approx(total, rel=1e-5)
    assert [tool.verdict for tool in report.tools] == ["yes", "no", "no", "no", "no"]
    assert {tool.note for tool in report.tools[1:]} == {"it reads no SVD; merge it into a model"}


def test_it_is_merged_into_a_model(file, state, tiny_folder, tmp_path):
    merge_into_model(tiny_folder, [(read_lora(file), 0.5)], tmp_path / "merged")
    before, after = (read_unet_weights(folder) for folder in (tiny_folder, tmp_path / "merged"))
    for name, weight in before.items():
        layer, expected = name.removesuffix(".weight"), weight.float()
        assert torch.equal(after[name], weight) == (layer not in layers_of(state))
        if layer in layers_of(state):
            expected = expected + (0.5 * 2.0 * true_change(state, layer)).reshape(weight.shape)
        # The tiny model's weights are kept in half precision.
        torch.testing.assert_close(after[name].float(), expected, atol=1e-3, rtol=1e-3)


def test_what_does_not_fit_is_said_in_one_line(file, state, unet, tmp_path):
    lora = read_lora(file)
    name = next(name for name in state if name.endswith("svd_s"))
    save_file({f"unet.{key}": t for key, t in state.items() if key != name}, tmp_path / "half.safetensors")
    with pytest.raises(CourseError, match=r"incomplete or has too much \(svd_s\)"):
        read_lora(tmp_path / "half.safetensors", alpha=6.0)
    lora.state_dict[name.replace("svd_s", "svd_v")] = torch.zeros(3, 5)
    with pytest.raises(MisfitError, match="but this model needs"):
        check_fit(unet, lora)
    with pytest.raises(CourseError, match="a SVD, whose ΔW is no product B A"):
        combine_loras([(lora, 1.0), (lora, 1.0)])
    with pytest.raises(CourseError, match="a SVD is no pair of factors"):
        write_lora(tmp_path / "out.ckpt", read_lora(file), "diffsynth", unet)
    with pytest.raises(CourseError, match="a SVD has neither"):
        LoraSettings(adapter="svd", use_dora=True)


def test_what_peft_does_not_have_is_neither_trained_nor_put_on_a_model(file, unet):
    """That part of a kind is peft's, `Kind.peft`: here there is none."""
    weights = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    with pytest.raises(CourseError, match="peft, which puts LoRAs on a model, has no SVD; merge it"):
        load_lora(unet, file)
    with pytest.raises(CourseError, match="peft, which puts LoRAs on a model, has no SVD; merge it"):
        add_lora(unet, LoraSettings(3, 6.0, TARGETS, adapter="svd"), generator=torch.Generator())
    assert weights.keys() == unet.state_dict().keys()
    assert all(torch.equal(tensor, unet.state_dict()[name]) for name, tensor in weights.items())
