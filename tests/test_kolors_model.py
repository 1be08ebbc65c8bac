"""Loading: the three layouts, and faults told in one line."""

import json
import os
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import same_weights
from transformers.utils import logging

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.kolors import (
    ModelPaths,
    diffusers_layout,
    encode_prompts,
    load_model,
    parts,
    three_paths,
)

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny Kolors that may be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "copy", copy_function=os.link)


def rewrite(path, data: bytes):
    path.unlink()  # the copy is made of hard links
    path.write_bytes(data)


def change_weights(path, change):
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})


# Layouts


def test_a_loaded_model_is_frozen_and_knows_its_sizes(tiny_model):
    for part in (tiny_model.unet, tiny_model.vae, tiny_model.text_encoder):
        assert not part.training
        assert not any(p.requires_grad for p in part.parameters())
        assert {p.dtype for p in part.parameters()} == {torch.float32}
    assert tiny_model.name == "tiny"
    assert tiny_model.vae_scale_factor == 4
    assert tiny_model.default_size == 32
    assert torch.equal(tiny_model.schedule.alphas_cumprod, NoiseSchedule.kolors().alphas_cumprod)


@pytest.mark.parametrize("shown", [True, False])
def test_loading_shows_no_bar_and_leaves_the_setting_alone(shown, tiny_folder, capfd, monkeypatch):
    monkeypatch.setattr(logging, "_tqdm_active", shown)
    load_model(tiny_folder)
    assert capfd.readouterr() == ("", "")
    assert logging.is_progress_bar_enabled() is shown


def test_three_paths_load_the_same_model(tiny_folder, tiny_model):
    paths = three_paths(tiny_folder / UNET, tiny_folder / "text_encoder", tiny_folder / VAE)
    model = load_model(paths)
    assert same_weights(model, tiny_model)
    assert model.name == "tiny"
    assert torch.equal(model.schedule.alphas_cumprod, tiny_model.schedule.alphas_cumprod)


def test_three_paths_load_the_very_file_that_is_named(folder, tiny_model):
    """Beside the plain file lies an fp16 one; each must be read only when it is meant."""
    other = folder / "unet/diffusion_pytorch_model.fp16.safetensors"
    shutil.copy(folder / UNET, other)
    change_weights(other, lambda tensors: tensors["conv_in.bias"].add_(1))
    biases = []
    for file in (folder / UNET, other):
        paths = three_paths(file, folder / "text_encoder", folder / VAE)
        biases.append(load_model(paths).unet.conv_in.bias)
    assert torch.equal(biases[0], tiny_model.unet.conv_in.bias)
    torch.testing.assert_close(biases[1], biases[0] + 1, atol=1e-3, rtol=1e-3)  # stored in half precision


def test_a_variant_is_a_preference(folder, tiny_model):
    """Kolors-diffusers has fp16 files only; Kwai-Kolors/Kolors has both kinds, and its text encoder has none."""
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    for variant in ("fp16", None):
        assert same_weights(load_model(folder, variant=variant), tiny_model)


def test_the_original_layout_with_bin_shards_and_the_tokenizer_inside(folder, tiny_model):
    text_encoder = folder / "text_encoder"
    tensors = load_file(folder / TEXT)
    (folder / TEXT).unlink()
    names = sorted(tensors)
    shards = {"pytorch_model-00001-of-00002.bin": names[:7], "pytorch_model-00002-of-00002.bin": names[7:]}
    for file, keys in shards.items():
        torch.save({key: tensors[key] for key in keys}, text_encoder / file)
    weight_map = {key: file for file, keys in shards.items() for key in keys}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (text_encoder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "tokenizer/tokenizer.model").rename(text_encoder / "tokenizer.model")
    shutil.rmtree(folder / "tokenizer")
    model = load_model(folder, variant="fp16")
    assert same_weights(model, tiny_model)
    prompts = [
        encode_prompts(m.tokenizer, m.text_encoder, ["夜晚"]).prompt_embeds for m in (model, tiny_model)
    ]
    assert torch.equal(*prompts)


def test_another_schedule_in_the_folder_is_used(folder):
    config = json.loads((folder / "scheduler/scheduler_config.json").read_text(encoding="utf-8"))
    config |= {"num_train_timesteps": 1000, "beta_end": 0.012}
    rewrite(folder / "scheduler/scheduler_config.json", json.dumps(config).encode())
    assert torch.equal(load_model(folder).schedule.alphas_cumprod, NoiseSchedule.sdxl().alphas_cumprod)


# Faults


def drop(tensors):
    del tensors[sorted(tensors)[3]]


def reshape(tensors):
    tensors[sorted(tensors)[3]] = torch.zeros(3, 3)


@pytest.mark.parametrize("change", [drop, reshape])
@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
def test_weights_that_do_not_fit_are_refused(folder, file, change):
    """The libraries would fill the gap with random numbers or with whatever was in memory."""
    change_weights(folder / file, change)
    with pytest.raises(CourseError, match="copy") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.9])
@pytest.mark.parametrize("file", [UNET, VAE, TEXT, "tokenizer/tokenizer.model", "unet/config.json"])
def test_files_cut_short_are_refused(folder, file, share):
    data = (folder / file).read_bytes()
    rewrite(folder / file, data[: int(len(data) * share)])
    with pytest.raises(CourseError, match="copy") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


MISSING = [
    UNET,
    VAE,
    TEXT,
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer.model",
]


@pytest.mark.parametrize("file", MISSING)
def test_missing_files_are_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(CourseError, match=re.escape(file.split("/")[0])) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler"])
def test_missing_folders_are_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(CourseError, match=f"{part}/"):
        diffusers_layout(folder)


FOREIGN = {
    "unet/config.json": {},
    "text_encoder/config.json": {},
    "scheduler/scheduler_config.json": {"beta_start": 0.1, "prediction_type": "v_prediction"},
}


@pytest.mark.parametrize("file", FOREIGN)
def test_configurations_of_something_else_are_refused(folder, file):
    rewrite(folder / file, json.dumps(FOREIGN[file]).encode())
    with pytest.raises(CourseError) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(CourseError, match="there is no model folder"):
        load_model(tmp_path / "nothing")
    with pytest.raises(CourseError, match="no folder unet/"):
        load_model(tmp_path)


def test_three_paths_say_which_one_is_wrong(folder):
    good = {"unet_file": folder / UNET, "text_encoder": folder / "text_encoder", "vae_file": folder / VAE}
    for name in ("unet_file", "vae_file"):
        with pytest.raises(CourseError, match="does not exist"):
            three_paths(**good | {name: folder / "none.safetensors"})
        with pytest.raises(CourseError, match="does not exist"):
            three_paths(**good | {name: good[name].parent})  # the folder instead of the file
        odd = good[name].with_name("my_weights.safetensors")
        shutil.copy(good[name], odd)
        with pytest.raises(CourseError, match=r"diffusion_pytorch_model\.safetensors"):
            three_paths(**good | {name: odd})
    with pytest.raises(CourseError, match="is not a folder"):
        three_paths(**good | {"text_encoder": folder / TEXT})
    (folder / "vae/config.json").unlink()
    with pytest.raises(
        CourseError, match=r"no config\.json beside .* is not full Kolors' vae: .* tensors differ"
    ):
        load_model(three_paths(**good))
    (folder / "tokenizer/tokenizer.model").unlink()
    with pytest.raises(
        CourseError, match=r"no tokenizer\.model in .*tokenizer or .*text_encoder; copy it there"
    ):
        three_paths(**good)


@pytest.mark.parametrize("phased", [False, True])
def test_weight_files_alone_are_full_kolors(folder, tiny_model, monkeypatch, tmp_path, phased):
    """What DiffSynth downloads: U-Net and VAE without config.json, ChatGLM without its tokenizer."""
    for part in ("unet", "vae"):
        config = dict(type(getattr(tiny_model, part)).load_config(folder / part))
        monkeypatch.setitem(parts.FULL_KOLORS, part, {k: v for k, v in config.items() if k[0] != "_"})
        (folder / part / "config.json").unlink()
    tokenizer = shutil.move(folder / "tokenizer", tmp_path / "elsewhere")
    paths = three_paths(folder / UNET, folder / "text_encoder", folder / VAE, tokenizer)
    model = load_model(paths, phased=phased)
    for part in parts.PARTS:
        model.fetch(part)
    assert same_weights(model, tiny_model)
    assert model.unet.dtype == model.vae.dtype == torch.float32


def test_paths_of_two_models_may_be_mixed_only_where_they_fit(folder, tiny_folder):
    config = json.loads((folder / "unet/config.json").read_text(encoding="utf-8"))
    rewrite(folder / "unet/config.json", json.dumps(config | {"encoder_hid_dim": 64}).encode())
    paths = diffusers_layout(tiny_folder)
    mixed = ModelPaths(folder / "unet", paths.vae, paths.text_encoder, paths.tokenizer, None, "mixed")
    with pytest.raises(CourseError, match=r"mixed|do not fit"):
        load_model(mixed)
