"""The stages that make Kolors-mini, a few tiny steps of each: what changes, what stays, what a second run finds."""

import json
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import refused

from kolors_course.art import random_caption
from kolors_course.cli import main
from kolors_course.kolors import PUBLISHED, Sampling, load_model
from kolors_course.kolors.prompts import encode_ids, token_ids
from kolors_course.kolors.unet import conditioning_of, time_ids, unet_noise
from kolors_course.mini import base
from kolors_course.mini.base import BaseConfig, BaseObjective, train_base
from kolors_course.mini.pictures import LORA_STYLES, PictureSpec, PictureStore, choose_scene
from kolors_course.mini.probe import ProbeConfig, halved, train_probe
from kolors_course.mini.reading import FactReader
from kolors_course.mini.recipe import RECIPES, MiniRecipe, default_recipe
from kolors_course.mini.saving import save_mini
from kolors_course.mini.scenes import TEXT_ROWS, SceneMaterial, captioned_scenes
from kolors_course.mini.tokenizer import build_tokenizer
from kolors_course.mini.vae import VaeConfig, train_mini_vae
from kolors_course.training.losses import LossSettings, weighted_loss

PICTURES = PictureSpec(seed=10, size=16, styled_share=0.6)
VAE = VaeConfig(steps=2, batch_size=4, block_out_channels=(8, 8), pictures=8, checkpoint_every=1)
BASE = BaseConfig(
    steps=2,
    batch_size=4,
    warmup=1,
    pictures=12,
    captions=2,
    size=16,
    block_out_channels=(32, 32, 32),
    transformer_layers=(1, 1, 1),
    text_width=96,
    text_layers=2,
    checkpoint_every=1,
    sample_every=100,
)


def copies(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mini")


@pytest.fixture(scope="module")
def store(folder):
    return PictureStore(PICTURES, folder / "pictures", chunk=12)


@pytest.fixture(scope="module")
def vae(store, folder):
    return train_mini_vae(VAE, store, folder / "vae-run")


@pytest.fixture(scope="module")
def model(folder, store, vae):
    tokenizer = build_tokenizer(folder / "tokenizer", captions=500)
    return train_base(BASE, vae, tokenizer, store, folder / "base-run")


def test_the_decoder_alone_is_sharpened(vae, store, tmp_path):
    before, factor = copies(vae), vae.config.scaling_factor
    after = copies(
        train_mini_vae(replace(VAE, edge_weight=1.0, seed=1), store, tmp_path, vae, decoder_only=True)
    )
    changed = {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed <= {"decoder", "post_quant_conv"}
    assert "decoder" in changed
    assert vae.config.scaling_factor == factor


def test_a_whole_vae_is_trained_further(vae, store, tmp_path):
    before = copies(vae)
    after = copies(train_mini_vae(replace(VAE, seed=1), store, tmp_path, deepcopy(vae)))
    changed = {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"encoder", "decoder", "quant_conv", "post_quant_conv"}


def test_a_finished_stage_is_read_again_not_repeated(model, folder, store, vae):
    tokenizer = build_tokenizer(folder / "tokenizer", captions=500)
    latents = (folder / "base-run" / "scenes.pt").stat().st_mtime_ns
    again = train_base(BASE, vae, tokenizer, store, folder / "base-run")
    for name, tensor in copies(model.unet).items():
        assert torch.equal(tensor, again.unet.state_dict()[name])
    assert (folder / "base-run" / "scenes.pt").stat().st_mtime_ns == latents


def test_training_goes_on_from_finished_weights(model, store, vae, tmp_path):
    gentle = replace(BASE, learning_rate=1e-9)  # hardly moves: what is found afterwards was taken over
    tokenizer = build_tokenizer(tmp_path / "tokenizer", captions=600, seed=1)
    start = replace(model, sampling=Sampling(3))
    further = train_base(gentle, vae, tokenizer, store, tmp_path / "further-run", start)
    assert (model.sampling, further.sampling) == (PUBLISHED, Sampling(3))
    for name, tensor in copies(model.unet).items():
        assert torch.allclose(tensor, further.unet.state_dict()[name], atol=1e-6)
    rows = [m.tokenizer.tokenizer.sp_model.piece_to_id("兔子") for m in (model, further)]
    words = [m.text_encoder.embedding.word_embeddings.weight for m in (model, further)]
    assert torch.allclose(words[0][rows[0]], words[1][rows[1]], atol=1e-6)


def test_the_saved_folder_is_a_whole_model(model, tmp_path):
    save_mini(model, tmp_path / "mini")
    loaded = load_model(tmp_path / "mini")
    assert loaded.unet.config.block_out_channels == [32, 32, 32]
    assert torch.equal(loaded.unet.conv_in.weight, model.unet.conv_in.weight.half().float())
    assert {part.dtype for part in (model.unet, model.vae)} == {torch.float32}, "saving changes no model"


def test_a_model_saved_again_does_not_say_where_it_was_loaded_from(model, tmp_path):
    save_mini(model, tmp_path / "mini")
    save_mini(load_model(tmp_path / "mini"), tmp_path / "again")
    configs = list((tmp_path / "again").glob("*/config.json"))
    assert len(configs) == 3
    assert not [path for path in configs if "_name_or_path" in path.read_text(encoding="utf-8")]
    assert load_model(tmp_path / "again").unet.config.block_out_channels == [32, 32, 32]


def test_the_decoder_stage_needs_a_model(capsys, tmp_path):
    error = refused(capsys, "train-mini", "--stage", "decoder", "-o", tmp_path / "out")
    assert error == "error: the stage decoder goes on from a finished model; name it with --from DIR\n"
    assert not (tmp_path / "out").exists()


def test_the_command_trains_vae_and_base_model_further(model, tmp_path, monkeypatch):
    recipe = MiniRecipe(VAE, VAE, VAE, ProbeConfig(), BASE, pictures=PICTURES)
    monkeypatch.setitem(RECIPES, "cpu", recipe)
    save_mini(deepcopy(model), tmp_path / "start")
    out, stages = tmp_path / "out", ["--stage", "vae", "--stage", "base"]
    command = ["train-mini", "--recipe", "cpu", "--from", str(tmp_path / "start"), "-o", str(out), *stages]
    assert main([*command, "--vae-learning-rate", "1e-2"]) == 0
    start, further = load_model(tmp_path / "start"), load_model(out / "kolors-mini")
    for part in ("unet", "vae", "text_encoder"):
        states = [copies(getattr(each, part)) for each in (start, further)]
        assert any(not torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    log = (out / "further-vae-run" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[0])["learning_rate"] == pytest.approx(1e-2 / VAE.warmup)


def test_the_base_model_sees_no_lora_style_and_its_captions_are_true(model, folder, store, vae):
    scenes = captioned_scenes(store, 12, 2, vae, model.tokenizer, folder / "base-run" / "scenes.pt")
    rows = [i for i in range(12) if choose_scene(PICTURES, i)[1] not in LORA_STYLES]
    assert 0 < len(rows) < 12
    assert scenes.latents.shape == (len(rows), 4, 8, 8)
    assert scenes.styled.tolist() == [choose_scene(PICTURES, i)[1] != "colour" for i in rows]
    for n, row in enumerate(rows):
        scene, style = choose_scene(PICTURES, row)
        caption = random_caption(scene, np.random.default_rng((PICTURES.seed, row, 1)), style)
        ids = token_ids(model.tokenizer, caption)
        assert scenes.input_ids[n, 0].tolist() == [0] * (TEXT_ROWS - len(ids)) + ids
        assert scenes.lengths[n, 0] == len(ids)


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_the_loss_is_that_of_the_objective(folder, store, vae, monkeypatch, dropout):
    """Tokenised, padded and weighted beforehand, it is the same number as computed in the plain way."""
    monkeypatch.setattr(base, "autocast", lambda device: nullcontext())
    tokenizer = build_tokenizer(folder / "tokenizer", captions=500)
    model = base.build_model(BASE, vae, tokenizer)
    scenes = captioned_scenes(store, 12, 2, vae, tokenizer, folder / "base-run" / "scenes.pt")
    generator, empty = torch.Generator().manual_seed(0), token_ids(tokenizer, "")
    share, gamma = BASE.styled_share, BASE.min_snr_gamma
    material = SceneMaterial(scenes, model.schedule, empty, generator, BASE.batch_size, dropout, share, gamma)
    batch, ids = material(0), time_ids(BASE.size, BASE.size)
    objective = BaseObjective(FactReader(BASE.text_width), BASE.reading_weight, ids)
    lengths = batch["lengths"].tolist()
    captions = [row[-length:] for row, length in zip(batch["input_ids"].tolist(), lengths, strict=True)]
    assert all((row == empty) == (dropout == 1) for row in captions)
    torch.nn.init.normal_(model.unet.conv_out.weight)  # a new model's is zero: it would predict nothing
    with torch.no_grad():
        told = objective(model, **batch)
        conditioning = conditioning_of(encode_ids(model.text_encoder, captions), ids.expand(4, -1))
        predicted = unet_noise(model, batch["noisy"], batch["timesteps"], conditioning)
        settings = LossSettings(min_snr_gamma=BASE.min_snr_gamma)
        plain = weighted_loss(predicted, batch["noise"], batch["timesteps"], model.schedule, settings)
    torch.testing.assert_close(told["loss"], plain, atol=1e-5, rtol=1e-4)
    assert (told["reading"] == 0) == (dropout == 1)


def test_the_probe_is_trained_measured_and_resumed(tmp_path):
    judged = PictureStore(replace(PICTURES, size=128, lora_subjects="all"), tmp_path / "judged", chunk=16)
    config = ProbeConfig(steps=2, batch_size=4, pictures=16, checkpoint_every=1)
    card = train_probe(config, judged, tmp_path / "run", fresh=8)
    assert set(card) == {"base look", "styled"}
    assert all(0 <= value <= 1 for value in card["base look"].values())
    first = (tmp_path / "run" / "probe.safetensors").read_bytes()
    train_probe(config, judged, tmp_path / "run", fresh=8)
    assert (tmp_path / "run" / "probe.safetensors").read_bytes() == first


def test_the_probe_looks_at_halves():
    pixels = torch.tensor([[[[0, 2], [4, 8]]] * 3], dtype=torch.uint8)
    assert halved(pixels).tolist() == [[[[4]], [[4]], [[4]]]]


def test_recipes():
    assert default_recipe(torch.device("cuda")) == "gpu"
    assert default_recipe(torch.device("cpu")) == "cpu"
    for recipe in RECIPES.values():
        assert recipe.pictures.size == recipe.base.size == recipe.judged.size
        assert recipe.pictures.lora_subjects == "train"
        assert recipe.judged.lora_subjects == "all"
