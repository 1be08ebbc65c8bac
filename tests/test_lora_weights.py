"""Merging into a model folder: the same picture without a LoRA, every weight file, nothing half-written."""

import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from loras import ATTENTION, WIDE, random_lora
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate, load_model
from kolors_course.lora import (
    LoraFile,
    LoraSettings,
    add_lora,
    load_lora,
    lora_state_dict,
    merge_into_model,
    merge_lora,
    read_unet_weights,
    save_lora,
    unload_lora,
)
from kolors_course.lora.kinds import weight_change

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny Kolors that may be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "copy", copy_function=os.link)


def tree(path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def in_single_precision(folder):
    """Store the U-Net in float32, so that merging rounds no more than adapters do."""
    tensors = {name: tensor.float() for name, tensor in load_file(folder / UNET).items()}
    (folder / UNET).unlink()
    save_file(tensors, folder / UNET, metadata={"format": "pt"})


def test_the_merged_model_draws_what_model_and_loras_draw(folder, tmp_path):
    in_single_precision(folder)
    model = load_model(folder)
    loras = [(random_lora(model.unet, WIDE, 1), 0.5), (random_lora(model.unet, ATTENTION, 2), -0.75)]
    merged = merge_into_model(folder, loras, tmp_path / "merged")
    assert tree(tmp_path / "merged") == tree(folder) | {"merged_loras.json"}
    note = json.loads((tmp_path / "merged" / "merged_loras.json").read_text(encoding="utf-8"))
    assert (note["base_model"], [lora["strength"] for lora in note["loras"]]) == ("copy", [0.5, -0.75])
    for i, (lora, strength) in enumerate(loras):
        path = save_lora(
            tmp_path / f"{i}.safetensors", lora.state_dict, lora.settings, base_model="", dataset_hash=""
        )
        load_lora(model.unet, path, strength)
    drawing = (["夜晚"], [1], Sampling(steps=2))
    ours, adapted = (generate(m, *drawing)[0] for m in (load_model(tmp_path / "merged"), model))
    assert np.abs(np.asarray(ours, np.int16) - np.asarray(adapted, np.int16)).max() <= 1
    unload_lora(model.unet)
    plain = generate(model, *drawing)[0]
    assert np.abs(np.asarray(ours, np.int16) - np.asarray(plain, np.int16)).max() > 8
    before, after = read_unet_weights(folder), read_unet_weights(tmp_path / "merged")
    changed = {name.removesuffix(".weight") for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(merged.layers)


@pytest.mark.parametrize(
    "settings",
    [
        LoraSettings(2, 3.0, use_rslora=True),
        LoraSettings(2, 3.0, ("to_q", "conv1", "conv_shortcut"), use_dora=True),
    ],
)
def test_equal_to_merging_with_peft(folder, tmp_path, settings):
    in_single_precision(folder)
    unet = load_model(folder).unet
    add_lora(unet, settings, generator=torch.Generator().manual_seed(0))
    state = {name: tensor.clone() for name, tensor in lora_state_dict(unet).items()}
    generator = torch.Generator().manual_seed(1)
    for name, tensor in state.items():
        if "lora_A" not in name:
            tensor += 0.2 * torch.randn(tensor.shape, generator=generator)
    unload_lora(unet)
    load_lora(
        unet, save_lora(tmp_path / "x.safetensors", state, settings, base_model="", dataset_hash=""), 0.6
    )
    merge_lora(unet)
    merge_into_model(folder, [(LoraFile(tmp_path, state, settings, {}), 0.6)], tmp_path / "merged")
    for name, weight in read_unet_weights(tmp_path / "merged").items():
        torch.testing.assert_close(weight, unet.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_every_variant_and_shard_is_merged_in_its_own_format(folder, tmp_path, tiny_model):
    """The copy has half precision; beside it a float32 variant in two shards. Each is rounded once."""
    lora = random_lora(tiny_model.unet, ATTENTION)
    half = load_file(folder / UNET)
    names = sorted(half)
    for i, part in enumerate((names[:100], names[100:]), start=1):
        shard = folder / f"unet/diffusion_pytorch_model.full-0000{i}-of-00002.safetensors"
        save_file({name: half[name].float() for name in part}, shard, metadata={"format": "pt"})
    merge_into_model(folder, [(lora, 1.0)], tmp_path / "merged")
    merged = load_file(tmp_path / "merged" / UNET)
    shards = {}
    for file in sorted((tmp_path / "merged/unet").glob("*.full-*")):
        shards |= load_file(file)
    assert {tensor.dtype for tensor in merged.values()} == {torch.float16}
    assert {tensor.dtype for tensor in shards.values()} == {torch.float32}
    assert merged.keys() == shards.keys() == half.keys()
    for name, tensor in merged.items():
        assert torch.equal(tensor, shards[name].half())
    assert any(not torch.equal(merged[name], half[name]) for name in half)


def test_weights_of_eight_bits_are_merged_too(folder, tmp_path, tiny_model):
    lora = random_lora(tiny_model.unet, ATTENTION)
    small = {name: tensor.to(torch.float8_e5m2) for name, tensor in load_file(folder / UNET).items()}
    (folder / UNET).unlink()
    save_file(small, folder / UNET, metadata={"format": "pt"})
    layers = merge_into_model(folder, [(lora, 1.0)], tmp_path / "merged").layers
    merged, name = load_file(tmp_path / "merged" / UNET), f"{layers[0]}.weight"
    change = lora.settings.scale * weight_change(lora.state_dict, layers[0], "lora")
    right = (small[name].float() + change.reshape(small[name].shape)).to(torch.float8_e5m2)
    assert torch.equal(merged[name].float(), right.float())
    assert {tensor.dtype for tensor in merged.values()} == {torch.float8_e5m2}


def test_refusals_leave_nothing(folder, tmp_path, tiny_model):
    lora = random_lora(tiny_model.unet, ATTENTION)
    tensors, output = load_file(folder / UNET), tmp_path / "out"
    foreign = LoraFile(tmp_path, {f"x.{n}": t for n, t in lora.state_dict.items()}, ATTENTION, {})
    before = {*tmp_path.iterdir()}
    for loras, message in (
        ([(foreign, 1.0)], "does not have"),
        ([(lora, 1e6)], "overflows"),
    ):
        with pytest.raises(CourseError, match=message):
            merge_into_model(folder, loras, output)
    with pytest.raises(CourseError, match="exists already"):
        merge_into_model(folder, [(lora, 1.0)], folder)
    with pytest.raises(CourseError, match="no model folder"):
        merge_into_model(tmp_path / "none", [(lora, 1.0)], output)
    (folder / UNET).unlink()
    with pytest.raises(CourseError, match="no weights"):
        merge_into_model(folder, [(lora, 1.0)], output)
    save_file({name: t for name, t in tensors.items() if "to_q" not in name}, folder / UNET)
    with pytest.raises(CourseError, match=r"lacks weights.*to_q"):
        merge_into_model(folder, [(lora, 1.0)], output)
    (folder / UNET).write_bytes(b"cut")
    with pytest.raises(CourseError, match="cut short"):
        merge_into_model(folder, [(lora, 1.0)], output)
    assert {*tmp_path.iterdir()} == before


def test_the_older_spelling_of_shards_is_merged_and_other_formats_are_left_out(folder, tmp_path, tiny_model):
    """What is left out would be drawn with in silence by whoever prefers it, without the LoRA."""
    lora = random_lora(tiny_model.unet, ATTENTION)
    half, names = load_file(folder / UNET), sorted(load_file(folder / UNET))
    for i, part in enumerate((names[:100], names[100:]), start=1):
        shard = folder / f"unet/diffusion_pytorch_model-0000{i}-of-00002.fp16.safetensors"
        save_file({name: half[name] for name in part}, shard, metadata={"format": "pt"})
    copied = {"diffusion_pytorch_model.safetensors.index.fp16.json", "README.md", ".hidden"}
    left_out = {"diffusion_pytorch_model.bin", "diffusion_pytorch_model.bin.index.json", "model.onnx"}
    for name in copied | left_out:
        (folder / "unet" / name).write_text("{}")
    (folder / "vae" / "more.bin").write_text("copied")
    merge = merge_into_model(folder, [(lora, 1.0)], tmp_path / "merged")
    assert set(merge.left_out) == left_out
    gone = {f"unet/{name}" for name in left_out} | {"unet/.hidden"}
    assert tree(tmp_path / "merged") == tree(folder) - gone | {"merged_loras.json"}
    merged, shards = load_file(tmp_path / "merged" / UNET), {}
    for file in (tmp_path / "merged/unet").glob("*.fp16.safetensors"):
        shards |= load_file(file)
    assert merged.keys() == shards.keys()
    assert all(torch.equal(tensor, shards[name]) for name, tensor in merged.items())
    assert any(not torch.equal(tensor, half[name]) for name, tensor in merged.items())


@pytest.mark.parametrize(
    "error", [SafetensorError("No space left on device"), OSError(28, "No space left on device")]
)
def test_a_full_disk_is_one_line_and_leaves_nothing(folder, tmp_path, tiny_model, monkeypatch, error):
    def disk_full(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise error

    monkeypatch.setattr("kolors_course.lora.weights.write_safetensors", disk_full)
    before = {*tmp_path.iterdir()}
    with pytest.raises(CourseError, match=r"cannot write .*out: .*No space left on device; free some disk"):
        merge_into_model(folder, [(random_lora(tiny_model.unet, ATTENTION), 1.0)], tmp_path / "out")
    assert {*tmp_path.iterdir()} == before


def test_a_file_that_cannot_be_copied_is_one_line(folder, tmp_path, tiny_model):
    (folder / "vae" / "gone.txt").symlink_to(tmp_path / "nowhere")
    before = {*tmp_path.iterdir()}
    with pytest.raises(CourseError, match=r"cannot write .*out: \[Errno 2\] .*gone\.txt'; free some disk"):
        merge_into_model(folder, [(random_lora(tiny_model.unet, ATTENTION), 1.0)], tmp_path / "out")
    assert {*tmp_path.iterdir()} == before


def test_a_read_only_model_can_be_merged_and_the_merged_one_removed(folder, tmp_path, tiny_model):
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        merge_into_model(folder, [(random_lora(tiny_model.unet, ATTENTION), 1.0)], tmp_path / "merged")
    finally:
        for path in folders:
            path.chmod(0o755)
    for path in (tmp_path / "merged", *(tmp_path / "merged").rglob("*")):
        if path.is_dir():
            assert path.stat().st_mode & stat.S_IRWXU == stat.S_IRWXU


def test_merged_weights_may_be_read_by_whoever_may_read_new_files(folder, tmp_path, tiny_model):
    merge_into_model(folder, [(random_lora(tiny_model.unet, ATTENTION), 1.0)], tmp_path / "merged")
    note = tmp_path / "merged" / "merged_loras.json"
    assert (tmp_path / "merged" / UNET).stat().st_mode == note.stat().st_mode
