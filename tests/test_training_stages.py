"""The stages that make Kolors-mini, a few tiny steps of each: what changes, what stays, what a second run finds."""

from dataclasses import replace

import pytest
import torch
from command_line import refused

from kolors_course.kolors import load_model
from kolors_course.training.base import BaseConfig, save_mini, train_base
from kolors_course.training.mini import build_tokenizer
from kolors_course.training.pictures import PictureSpec, PictureStore
from kolors_course.training.vae import VaeConfig, train_vae

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
    return train_vae(VAE, store, folder / "vae-run")


@pytest.fixture(scope="module")
def model(folder, store, vae):
    tokenizer = build_tokenizer(folder / "tokenizer", captions=500)
    return train_base(BASE, vae, tokenizer, store, folder / "base-run")


def test_the_decoder_alone_is_sharpened(vae, store, tmp_path):
    before, factor = copies(vae), vae.config.scaling_factor
    after = copies(train_vae(replace(VAE, edge_weight=1.0, seed=1), store, tmp_path, vae))
    changed = {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed <= {"decoder", "post_quant_conv"}
    assert "decoder" in changed
    assert vae.config.scaling_factor == factor


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
    further = train_base(gentle, vae, tokenizer, store, tmp_path / "further-run", model)
    for name, tensor in copies(model.unet).items():
        assert torch.allclose(tensor, further.unet.state_dict()[name], atol=1e-6)
    rows = [m.tokenizer.tokenizer.sp_model.piece_to_id("兔子") for m in (model, further)]
    words = [m.text_encoder.embedding.word_embeddings.weight for m in (model, further)]
    assert torch.allclose(words[0][rows[0]], words[1][rows[1]], atol=1e-6)


def test_the_saved_folder_is_a_whole_model(model, tmp_path):
    save_mini(model, tmp_path / "mini")
    loaded = load_model(tmp_path / "mini")
    assert loaded.unet.config.block_out_channels == [32, 32, 32]
    assert torch.equal(loaded.unet.conv_in.weight, model.unet.conv_in.weight)


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
