"""The recipe of Kolors-mini 2, at a tiny size: eight latent channels in all stages, files and stock diffusers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import KolorsPipeline
from tiny import QUICK, write_pictures

from kolors_course.cli import main, subparser
from kolors_course.cli.train_mini import chosen_recipe
from kolors_course.comfyui.wires import from_latent, to_latent
from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate, load_model, preview_picture
from kolors_course.kolors.sampling import initial_latents
from kolors_course.mini.networks import build_text_encoder, build_unet
from kolors_course.mini.pictures import PictureSpec
from kolors_course.mini.probe import ProbeConfig
from kolors_course.mini.recipe import RECIPES, MiniRecipe
from kolors_course.mini.saving import save_mini
from kolors_course.mini.vae import build_vae
from kolors_course.training.lora import train_lora
from kolors_course.training.plan import plan_training

MEGABYTE = 10**6
GPU2 = RECIPES["gpu2"]  # before a test puts a tiny one in its place
TINY_VAE = replace(GPU2.vae, steps=2, batch_size=4, block_out_channels=(8, 8), pictures=12, foreign_pool=12)
TINY = MiniRecipe(
    vae=TINY_VAE,
    decoder=replace(TINY_VAE, critic_weight=GPU2.decoder.critic_weight, seed=1),
    foreign=TINY_VAE,
    probe=ProbeConfig(),
    base=replace(
        GPU2.base,
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
    ),
    pictures=PictureSpec(seed=10, size=16, styled_share=0.6),
)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The command with the tiny recipe, in one folder: flags -> exit status."""
    folder = tmp_path_factory.mktemp("mini2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "gpu2", TINY)
        yield folder, lambda *flags: main(["train-mini", "--recipe", "gpu2", "-o", str(folder), *flags])


@pytest.fixture(scope="module")
def made(command):
    """The folder of the model after all runs that `train-mini --help` names, each started twice, as if cut."""
    folder, run = command
    further = ("--from", str(folder / "kolors-mini"))
    for flags in (
        ("--stage", "vae"),
        ("--stage", "base"),
        (*further, "--stage", "decoder"),
        (*further, "--base-steps", "1", "--learning-rate", "7e-4"),
    ):
        assert run(*flags) == 0
        assert run(*flags) == 0
    return folder / "kolors-mini"


def test_all_runs_make_a_model_of_eight_channels(made):
    model = load_model(made)
    assert model.vae.config.latent_channels == model.unet.config.in_channels == 8
    assert model.unet.config.out_channels == 8
    assert initial_latents(model, [0], 16, 16).shape == (1, 8, 8, 8)
    assert preview_picture(model, torch.randn(8, 8, 8)).size == (16, 16)


def test_the_decoder_is_sharpened_and_latents_stay(made):
    folder = made.parent
    before = torch.load(folder / "vae-run" / "checkpoint.pt", weights_only=True)["model"]
    after = torch.load(folder / "decoder-run" / "checkpoint.pt", weights_only=True)["model"]
    changed = {
        name.split(".")[0] for name in after if not torch.equal(after[name].half(), before[name].half())
    }
    assert changed <= {"decoder", "post_quant_conv"}
    assert "decoder" in changed


def test_stock_diffusers_draws_the_same(made):
    model = load_model(made)
    pipeline = KolorsPipeline.from_pretrained(made, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    prompts = ["夜晚雪地上的一只兔子", "a cat"]
    stock = pipeline(
        prompts,
        latents=initial_latents(model, [5, 6], 16, 16),
        num_inference_steps=3,
        guidance_scale=4.0,
        height=16,
        width=16,
    ).images
    ours = generate(model, prompts, [5, 6], Sampling(3, 4.0, size=(16, 16)))
    for one, two in zip(ours, stock, strict=True):
        assert np.abs(np.asarray(one, int) - np.asarray(two, int)).max() <= 1


def test_a_lora_is_planned_and_trained_on_it(made, tmp_path):
    model = load_model(made)
    plan = plan_training(model, QUICK, torch.device("cpu"))
    assert plan.peak > plan.weights > 0
    result = train_lora(
        model, write_pictures(tmp_path / "pictures"), tmp_path / "run", replace(QUICK, steps=2)
    )
    assert result.path.is_file()


def test_latents_go_to_comfyui_and_back(made):
    model = load_model(made)
    latents = torch.randn(1, 8, 8, 8)
    assert torch.equal(from_latent(model, to_latent(latents)), latents)
    with pytest.raises(CourseError, match="needs \\(pictures, 8, height, width\\)"):
        from_latent(model, to_latent(latents[:, :4]))


def test_a_model_of_another_size_is_not_gone_on_from(made, tmp_path, capsys, monkeypatch):
    other = replace(TINY, base=replace(TINY.base, block_out_channels=(32, 32, 64)))
    monkeypatch.setitem(RECIPES, "gpu2", other)
    assert main(["train-mini", "--recipe", "gpu2", "-o", str(tmp_path), "--from", str(made)]) == 2
    told = "widths 32/32/64 for 8 latent channels, and that to go on from is one of widths 32/32/32 for 8"
    assert told in capsys.readouterr().err


def test_latent_channels_are_chosen_on_the_command_line():
    arguments = subparser("train-mini").parse_args(["--recipe", "gpu2", "--latent-channels", "16"])
    assert chosen_recipe(arguments).vae.latent_channels == 16
    assert chosen_recipe(subparser("train-mini").parse_args(["--recipe", "gpu2"])).vae.latent_channels == 8


@pytest.mark.parametrize("channels", [8, 16])
def test_the_weights_may_be_committed(channels):
    """At most 90 MB in half precision, the text encoder in single, as `save_mini` writes them."""
    with torch.device("meta"):
        vae = build_vae(replace(GPU2.vae, latent_channels=channels))
        base = GPU2.base
        unet = build_unet(
            base.text_width, base.block_out_channels, base.transformer_layers, latent_channels=channels
        )
        text = build_text_encoder(1600, base.text_width, base.text_layers)
    sizes = [sum(p.numel() for p in part.parameters()) for part in (vae, unet, text)]
    assert 60 * MEGABYTE < 2 * sizes[0] + 2 * sizes[1] + 4 * sizes[2] < 89 * MEGABYTE  # and a tokenizer


def test_saved_weights_are_halves(made, tmp_path):
    model = load_model(made)
    count = sum(p.numel() for p in model.unet.parameters())
    save_mini(model, tmp_path / "again")
    size = (tmp_path / "again" / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert 2 * count < size < 2 * count + MEGABYTE
