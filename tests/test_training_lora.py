"""Training a LoRA on the tiny Kolors: learning, resuming, leaving nothing behind."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import KolorsPipeline
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import QUICK, assert_same_gradients, assert_same_state, state_of

from kolors_course.dataset import dataset_hash, read_dataset
from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate, initial_latents, load_model
from kolors_course.lora import ATTENTION_TARGETS, LoraSettings, load_lora, read_lora, unload_lora
from kolors_course.training.cache import build_cache
from kolors_course.training.lora import epoch_rows, generator_for, train_lora
from kolors_course.training.objective import epsilon_loss
from kolors_course.training.recipe import LoraTraining, mixed_precision


def pixels(pictures):
    return np.stack([np.asarray(picture, dtype=np.int16) for picture in pictures])


def draw(model):
    return pixels(generate(model, ["a red cat", "夜晚"], [0, 1], Sampling(2)))


def test_equal_runs_write_equal_files(tiny_model, tiny_pictures, tmp_path):
    """Byte by byte, metadata included."""
    runs = [
        train_lora(tiny_model, tiny_pictures, tmp_path / name, replace(QUICK, steps=1)) for name in ("a", "b")
    ]
    one, two = (run.path.read_bytes() for run in runs)
    assert one == two


def test_training_lowers_the_loss_on_its_pictures(tiny_model, tiny_pictures, tmp_path):
    everywhere = (*ATTENTION_TARGETS, "conv_in", "conv_out")  # attention alone cannot mend a random network
    settings = LoraSettings(rank=4, alpha=8.0, target_modules=everywhere)
    recipe = replace(
        QUICK, steps=30, batch_size=4, caption_dropout=0.0, checkpoint_every=100, settings=settings
    )
    result = train_lora(tiny_model, tiny_pictures, tmp_path, recipe)
    dataset = read_dataset(tiny_pictures)
    cache = build_cache(tiny_model, dataset, (32, 32), True, False, torch.Generator().manual_seed(0))

    @torch.no_grad()
    def loss() -> float:
        """On the same pictures, noise and timesteps each time, in float32."""
        generator = torch.Generator().manual_seed(99)
        latents, prompts, ids = cache.batch(torch.arange(4).repeat(8), generator, 0.0)
        return float(epsilon_loss(tiny_model, latents, prompts, ids, generator))

    before = loss()
    load_lora(tiny_model.unet, result.path)
    after = loss()
    unload_lora(tiny_model.unet)
    assert after < 0.8 * before
    assert loss() == before


def test_the_file_says_what_it_is(tiny_pictures, quick):
    lora = read_lora(quick.path)
    assert lora.settings == QUICK.settings
    assert lora.base_model == "tiny"
    assert lora.metadata["dataset_hash"] == dataset_hash(read_dataset(tiny_pictures))
    assert lora.metadata["command"] == "the command"
    assert (lora.metadata["steps"], lora.metadata["pictures"]) == (4, 4)
    assert lora.metadata["recipe"]["learning_rate"] == 1e-2
    assert lora.metadata["final_loss"] == pytest.approx(sum(loss for _, loss in quick.losses) / 4)
    with safe_open(quick.path, framework="pt") as file:
        adapter = json.loads(file.metadata()["lora_adapter_metadata"])
    assert (adapter["unet.r"], adapter["unet.lora_alpha"]) == (4, 8.0)
    assert any(tensor.abs().max() > 0 for name, tensor in lora.state_dict.items() if "lora_B" in name)


def test_the_stock_pipeline_draws_our_picture_with_the_file(tiny_folder, tiny_model, quick):
    pipe = KolorsPipeline.from_pretrained(tiny_folder)
    pipe.set_progress_bar_config(disable=True)
    base = draw(tiny_model)
    pipe.load_lora_weights(quick.path)
    prompts = ["a red cat", "夜晚"]
    start = initial_latents(tiny_model, [0, 1], 32, 32)
    stock = pipe(
        prompts, latents=start, num_inference_steps=2, guidance_scale=5.0, height=32, width=32
    ).images
    load_lora(tiny_model.unet, quick.path)
    ours = draw(tiny_model)
    unload_lora(tiny_model.unet)
    assert np.abs(ours - pixels(stock)).max() <= 1
    assert np.abs(ours - base).max() > 2  # the LoRA does something


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_the_model_is_left_clean(tiny_model, tiny_pictures, tmp_path, precision):
    """accelerate wraps the U-Net's forward in autocast; pictures drawn later must not be made that way."""
    before, drawn = state_of(tiny_model.unet), draw(tiny_model)
    recipe = replace(QUICK, steps=1, precision=precision, gradient_checkpointing=True)
    train_lora(tiny_model, tiny_pictures, tmp_path / "whole", recipe)
    assert_same_state(state_of(tiny_model.unet), before)
    with pytest.raises(ZeroDivisionError):
        train_lora(
            tiny_model, tiny_pictures, tmp_path / "broken", recipe, progress=lambda step, loss: step / 0
        )
    assert_same_state(state_of(tiny_model.unet), before)
    assert np.array_equal(draw(tiny_model), drawn)


def test_one_process_can_train_in_several_precisions(tiny_model, tiny_pictures, tmp_path):
    """accelerate remembers the first precision of a process and refuses others."""
    losses = {}
    for precision in ("32", "bf16", "16-mixed", "32"):
        recipe = replace(QUICK, steps=1, precision=precision)
        path = tmp_path / f"{precision}-{len(losses)}"
        losses.setdefault(precision, []).append(
            train_lora(tiny_model, tiny_pictures, path, recipe).losses[0][1]
        )
    assert losses["32"][0] == losses["32"][1]
    assert losses["bf16"] == losses["16-mixed"]  # on a CPU
    assert losses["bf16"][0] == pytest.approx(losses["32"][0], rel=0.05)
    assert losses["bf16"] != losses["32"][:1]


def test_half_precision_weights_train_under_autocast_only(tiny_folder, tiny_pictures, tmp_path):
    """As on full Kolors, whose weights are bfloat16."""
    model = load_model(tiny_folder, dtype=torch.bfloat16)
    result = train_lora(model, tiny_pictures, tmp_path / "half", replace(QUICK, precision="bf16"))
    assert all(tensor.dtype == torch.float32 for tensor in load_file(result.path).values())
    assert np.isfinite([loss for _, loss in result.losses]).all()
    with pytest.raises(CourseError, match="float32"):
        train_lora(model, tiny_pictures, tmp_path / "full", QUICK)
    assert not (tmp_path / "full").exists()


def test_gradient_checkpointing_changes_memory_only(tiny_model, tiny_pictures, tmp_path, quick):
    result = train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, gradient_checkpointing=True))
    first, second = load_file(quick.path), load_file(result.path)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_accumulated_batches_see_the_pictures_of_one_large_batch(tiny_model, tiny_pictures, tmp_path):
    """2 batches of 2 step through the epoch like 1 batch of 4.

    The weights are not the same: noise and timesteps are drawn for each small batch, as they must be where the large
    one does not fit. The loss of the first step is an average over the same pictures, so it is alike.
    """
    rows = [epoch_rows(4, 2, 0, part) for part in (0, 1)]
    assert torch.equal(torch.cat(rows), epoch_rows(4, 4, 0, 0))
    one = train_lora(tiny_model, tiny_pictures, tmp_path / "1x4", replace(QUICK, batch_size=4))
    two = train_lora(tiny_model, tiny_pictures, tmp_path / "2x2", replace(QUICK, gradient_accumulation=2))
    assert two.steps == one.steps == 4
    assert two.losses[0][1] == pytest.approx(one.losses[0][1], rel=0.5)


def test_accumulated_gradients_are_the_mean(tiny_model, tiny_pictures, tmp_path, monkeypatch):
    """With the same noise in every part, 2 accumulated batches are one batch, to float32 rounding."""
    from kolors_course.training import batches, learner

    for module in (batches, learner):
        monkeypatch.setattr(module, "generator_for", lambda *key: torch.Generator().manual_seed(key[1]))
    recipe = replace(QUICK, batch_size=4, max_grad_norm=1e9)
    whole = train_lora(tiny_model, tiny_pictures, tmp_path / "1", recipe)
    parts = train_lora(tiny_model, tiny_pictures, tmp_path / "3", replace(recipe, gradient_accumulation=3))
    assert [loss for _, loss in parts.losses] == pytest.approx([loss for _, loss in whole.losses], rel=1e-5)
    assert_same_gradients(tmp_path / "1", tmp_path / "3")


def test_samples_are_drawn_while_training(tiny_model, tiny_pictures, tmp_path):
    recipe = replace(QUICK, steps=3, sample_every=2, sample_prompts=("a cat", "夜晚"))
    train_lora(tiny_model, tiny_pictures, tmp_path, recipe)
    names = sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert names == ["step-000000.png", "step-000002.png", "step-000003.png"]


def test_seeds_change_everything_that_is_random(tiny_model, tiny_pictures, tmp_path, quick):
    """torch's CPU generator reads 32 bits of a seed, so seeds must not be packed into the upper ones."""
    other = train_lora(tiny_model, tiny_pictures, tmp_path, replace(QUICK, seed=1))
    assert all(one[1] != two[1] for one, two in zip(quick.losses, other.losses, strict=True))
    keys = [(0, 0), (1, 0), (0, 1), (0, 0, 1), (2**32, 0), (0, 2**32)]
    draws = {tuple(torch.randn(4, generator=generator_for(*key)).tolist()) for key in keys}
    assert len(draws) == len(keys)
    orders = [tuple(epoch_rows(50, 50, seed, 0).tolist()) for seed in (0, 1, 2**32)]
    assert len(set(orders)) == 3


@pytest.mark.parametrize(("count", "batch"), [(1, 3), (5, 2), (4, 4), (3, 8)])
def test_every_picture_once_in_each_epoch(count, batch):
    rows = torch.cat([epoch_rows(count, batch, 7, step) for step in range(4 * count)])
    assert len(rows) == 4 * count * batch
    epochs = rows.view(-1, count)
    assert all(sorted(epoch.tolist()) == list(range(count)) for epoch in epochs)
    assert count == 1 or len({tuple(epoch.tolist()) for epoch in epochs}) > 1


BAD = {
    "steps": 0,
    "batch_size": 0,
    "gradient_accumulation": 0,
    "checkpoint_every": 0,
    "sample_every": -1,
    "learning_rate": float("inf"),
    "max_grad_norm": 0.0,
    "ema_decay": 1.0,
    "weight_decay": float("nan"),
    "warmup": -1,
    "seed": -1,
    "caption_dropout": 1.5,
    "precision": "8",
}


@pytest.mark.parametrize("field", BAD)
def test_the_recipe_checks_its_numbers(field):
    with pytest.raises(CourseError, match=field):
        LoraTraining(**{field: BAD[field]})


def test_precisions_by_device():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert mixed_precision("32", cuda) == "no"
    assert mixed_precision("bf16", cuda) == "bf16"
    assert (mixed_precision("16-mixed", cuda), mixed_precision("16-mixed", cpu)) == ("fp16", "bf16")
    assert mixed_precision("auto", cpu) in ("bf16", "no")
