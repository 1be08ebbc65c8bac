"""`kolors-course train-lora`: the camp's flags, resuming, and how it refuses."""

import argparse
import importlib.machinery
import json
import runpy
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from command_line import command, refused, tree
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import SIDE

from kolors_course.cli import main, subparser, train_lora
from kolors_course.kolors import current_profile, parts
from kolors_course.kolors.skeleton import kolors_skeleton
from kolors_course.lora import read_lora
from kolors_course.lora.adapter import target_layers
from kolors_course.training import objective

pytestmark = pytest.mark.usefixtures("tiny_profile")


def train(dataset, output, *arguments) -> list[str]:
    common = ("--steps_per_epoch", 2, "--batch_size", 1, "--precision", 32)
    return command("train-lora", "--dataset_path", dataset, "--output_path", output, *common, *arguments)


def test_the_camps_command_trains(capsys, tmp_path, tiny_folder, tiny_pictures):
    """Every flag of the camp's trainer that concerns training, with three paths."""
    output = tmp_path / "models"
    arguments = command(
        "train-lora",
        *("--pretrained_unet_path", tiny_folder / "unet/diffusion_pytorch_model.safetensors"),
        *("--pretrained_text_encoder_path", tiny_folder / "text_encoder"),
        *("--pretrained_fp16_vae_path", tiny_folder / "vae/diffusion_pytorch_model.safetensors"),
        *("--lora_rank", 16, "--lora_alpha", 4.0, "--lora_target_modules", "to_q,to_k,to_v,to_out"),
        *("--dataset_path", tiny_pictures, "--output_path", output),
        *("--max_epochs", 2, "--steps_per_epoch", 3, "--height", 32, "--width", 48),
        *("--center_crop", "--random_flip", "--batch_size", 1, "--dataloader_num_workers", 0),
        *("--learning_rate", 1e-4, "--use_gradient_checkpointing", "--accumulate_grad_batches", 2),
        *("--precision", "16-mixed", "--training_strategy", "auto", "--init_lora_weights", "gaussian"),
        *("--json", tmp_path / "report.json"),
    )
    assert main(arguments) == 0
    lora = read_lora(output / "lora.safetensors")
    assert (lora.settings.rank, lora.settings.alpha, lora.settings.scale) == (16, 4.0, 0.25)
    assert lora.settings.target_modules == ("to_q", "to_k", "to_v", "to_out.0")
    assert lora.base_model == "tiny"
    recipe = lora.metadata["recipe"]
    assert (recipe["steps"], recipe["size"], recipe["gradient_accumulation"]) == (4, [48, 32], 2)
    assert recipe["random_flip"] is recipe["center_crop"] is recipe["gradient_checkpointing"] is True
    assert (recipe["precision"], recipe["learning_rate"]) == ("16-mixed", 1e-4)
    assert lora.metadata["command"].startswith("kolors-course train-lora --pretrained_unet_path ")
    assert "--lora_rank 16" in lora.metadata["command"]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["steps"] == 4  # each epoch: two batches, and one that is left
    assert report["lora"] == str(output / "lora.safetensors")
    assert report["first_loss"] > 0
    assert "4 steps, loss" in capsys.readouterr().out
    stored = {name for name in tree(output) if name.startswith("cache")}
    assert tree(output) - stored == {"checkpoint.pt", "config.yaml", "log.jsonl", "lora.safetensors"}
    assert (
        len(stored) == 1 + 2 * 4 + 4 + 1
    )  # the folder, pictures and their mirror images, captions, the empty one


# DiffSynth-Studio's train_kolors_lora.py at 1116e6db, and what v1.1.9 added: flag -> default
DIFFSYNTH = {
    "pretrained_unet_path": None,
    "pretrained_text_encoder_path": None,
    "pretrained_fp16_vae_path": None,
    "lora_target_modules": "to_q,to_k,to_v,to_out",
    "output_path": "./",
    "steps_per_epoch": 500,
    "height": 1024,
    "width": 1024,
    "center_crop": False,
    "random_flip": False,
    "batch_size": 1,
    "dataloader_num_workers": 0,
    "precision": "16-mixed",
    "learning_rate": 1e-4,
    "lora_rank": 4,
    "lora_alpha": 4.0,
    "use_gradient_checkpointing": False,
    "accumulate_grad_batches": 1,
    "training_strategy": "auto",
    "max_epochs": 1,
    "modelscope_model_id": None,
    "modelscope_access_token": None,
    "init_lora_weights": "kaiming",
    "pretrained_lora_path": None,
    "use_swanlab": False,
    "swanlab_mode": None,
}


def test_the_camps_flags_have_the_camps_defaults_on_full_kolors():
    parser = subparser("train-lora")
    arguments = parser.parse_args(["--dataset_path", "data"])
    profile = current_profile("kolors")
    recipe = train_lora.recipe_of(arguments, profile)
    ours = vars(arguments) | {
        "steps_per_epoch": recipe.steps,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "precision": recipe.precision,
        "init_lora_weights": recipe.settings.init,
        **({"height": profile.size, "width": profile.size} if recipe.size is None else {}),
    }
    assert {flag: ours[flag] for flag in DIFFSYNTH} == DIFFSYNTH


def recipe(*flags, profile="kolors"):
    parser = subparser("train-lora")
    return train_lora.recipe_of(
        parser.parse_args(command("--dataset_path", "data", *flags)), current_profile(profile)
    )


def test_a_missing_side_is_the_models_own():
    assert recipe("--height", 768).size == (1024, 768)
    assert recipe("--width", 64, profile="mini").size == (64, 128)


def test_optimizers_bring_the_defaults_they_need():
    assert (recipe().learning_rate, recipe().optimizer.schedule) == (1e-4, "cosine")
    assert recipe("--optimizer", "prodigy").learning_rate == 1.0
    assert recipe("--optimizer", "prodigy", "--learning_rate", 0.5).learning_rate == 0.5
    assert recipe("--optimizer", "adamw-schedule-free").optimizer.schedule == "constant"
    assert (
        recipe("--optimizer", "adamw-schedule-free", "--lr_schedule", "linear").optimizer.schedule == "linear"
    )


def test_the_defaults_follow_the_model_that_is_given_by_path(monkeypatch, tmp_path, tiny_folder):
    full = tmp_path / "unet" / "config.json"
    full.parent.mkdir()
    full.write_text('{"sample_size": 128}', encoding="utf-8")
    paths = {"--model": tmp_path, "--pretrained_unet_path": tmp_path / "unet" / "weights.safetensors"}

    def profile(*flags) -> str:
        parser = subparser("train-lora")
        return train_lora.profile_of(parser.parse_args(command("--dataset_path", "data", *flags))).name

    for flag, path in paths.items():
        assert profile(flag, path) == "kolors"
    full.unlink()
    assert profile("--pretrained_unet_path", paths["--pretrained_unet_path"]) == "kolors"  # weights alone
    full.write_text('{"sample_size": 128}', encoding="utf-8")
    assert profile("--model", tiny_folder) == profile("--model", tmp_path / "none") == profile() == "mini"
    monkeypatch.setenv("KOLORS_PROFILE", "mini")
    assert profile("--model", tmp_path) == "mini"


@pytest.mark.parametrize(("targets", "layers"), [("attention", 560), ("attention+feed-forward", 722)])
def test_short_names_of_target_modules_on_full_kolors(targets, layers):
    parser = subparser("train-lora")
    arguments = parser.parse_args(["--dataset_path", "data", "--lora_target_modules", targets])
    recipe = train_lora.recipe_of(arguments, current_profile("kolors"))
    assert len(target_layers(kolors_skeleton(), recipe.settings.target_modules)) == layers


@pytest.fixture(scope="module")
def layouts(tiny_folder, tmp_path_factory) -> dict[str, list[str]]:
    """The tiny model laid out in the three ways Kolors is found in, and the flags that load each."""
    folder = tmp_path_factory.mktemp("layouts")
    old = shutil.copytree(tiny_folder, folder / "Kolors")
    shutil.copytree(old / "tokenizer", old / "text_encoder", dirs_exist_ok=True)
    shutil.rmtree(old / "tokenizer")
    shard_as_bin(old / "text_encoder")
    camp = folder / "camp"
    for part in ("unet", "vae", "text_encoder"):
        shutil.copytree(old / part, camp / part)
    weights = "diffusion_pytorch_model.safetensors"
    return {
        "diffusers": command("--model", tiny_folder),
        "original": command("--model", old),
        "three paths": command(
            *("--pretrained_unet_path", camp / "unet" / weights),
            *("--pretrained_text_encoder_path", camp / "text_encoder"),
            *("--pretrained_fp16_vae_path", camp / "vae" / weights),
        ),
    }


def shard_as_bin(folder: Path) -> None:
    """Replace a safetensors file by two pickled shards and their index, as Kwai-Kolors/Kolors has them."""
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    file.unlink()
    names = sorted(tensors)
    shards = {f"pytorch_model-0000{i + 1}-of-00002.bin": names[i::2] for i in range(2)}
    for shard, keys in shards.items():
        torch.save({key: tensors[key] for key in keys}, folder / shard)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": {key: shard for shard, keys in shards.items() for key in keys},
    }
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")


def test_all_three_layouts_train_to_the_same_weights(tmp_path, tiny_pictures, layouts):
    loras = []
    for name, flags in layouts.items():
        assert main([*train(tiny_pictures, tmp_path / name), *flags]) == 0
        loras.append(load_file(tmp_path / name / "lora.safetensors"))
    assert all(torch.equal(tensor, other[key]) for other in loras[1:] for key, tensor in loras[0].items())
    assert any(tensor.abs().max() > 0 for key, tensor in loras[0].items() if "lora_B" in key)


def test_the_camps_own_download_trains(tmp_path, tiny_pictures, layouts, monkeypatch):
    """As DiffSynth fetches it: no config.json beside U-Net and VAE, no tokenizer."""
    folder = shutil.copytree(Path(layouts["three paths"][1]).parents[1], tmp_path / "camp")
    for part in ("unet", "vae"):
        config = json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
        known = {name: value for name, value in config.items() if not name.startswith("_")}
        monkeypatch.setitem(parts.FULL_KOLORS, part, known)
        (folder / part / "config.json").unlink()
    tokenizer = shutil.move(folder / "text_encoder" / "tokenizer.model", folder / "tokenizer.model")
    weights = "diffusion_pytorch_model.safetensors"
    paths = command(
        *("--pretrained_unet_path", folder / "unet" / weights),
        *("--pretrained_text_encoder_path", folder / "text_encoder"),
        *("--pretrained_fp16_vae_path", folder / "vae" / weights),
        *("--tokenizer_path", Path(tokenizer).parent),
    )
    same = ("--width", SIDE, "--height", SIDE, "--learning_rate", 1e-3)
    assert main([*train(tiny_pictures, tmp_path / "run", *same), *paths]) == 0
    assert main([*train(tiny_pictures, tmp_path / "plain", *same), *layouts["diffusers"]]) == 0
    one, two = (load_file(tmp_path / name / "lora.safetensors") for name in ("run", "plain"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_a_shard_that_would_run_code_is_refused(capsys, tmp_path, tiny_pictures, layouts):
    folder = shutil.copytree(layouts["original"][1], tmp_path / "model")
    shard = folder / "text_encoder" / "pytorch_model-00001-of-00002.bin"
    torch.save({"trap": argparse.Namespace}, shard)
    error = refused(capsys, *train(tiny_pictures, tmp_path / "run"), "--model", folder)
    assert "cannot load the model" in error


def test_the_camps_module_is_the_same_command(capsys, monkeypatch, tmp_path, tiny_pictures):
    def run_module(*arguments) -> int:
        monkeypatch.setattr(sys, "argv", ["train_kolors_lora.py", *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_module("kolors_course.train_kolors_lora", run_name="__main__")
        return left.value.code

    assert run_module(*train(tiny_pictures, tmp_path)[1:]) == 0
    assert (tmp_path / "lora.safetensors").is_file()
    capsys.readouterr()
    assert run_module("--max_epochs", "x") == 2
    assert "--max_epochs" in capsys.readouterr().err


def test_pushing_to_modelscope(capsys, monkeypatch, tmp_path, tiny_pictures):
    pushed = {}

    class HubApi:  # with the signatures of modelscope-hub 0.5.1
        def __init__(self, config=None, *, endpoint=None, token=None, user_agent=None):
            pushed["token"] = token

        def repo_exists(self, repo_id, repo_type):
            return True

        def upload_folder(
            self, repo_id, repo_type, folder_path, *, path_in_repo="", commit_message=None, **more
        ):
            pushed[repo_id] = {file.name for file in Path(folder_path).iterdir()}

    flags = ("--modelscope_model_id", "me/my-lora")
    assert "--modelscope_access_token" in refused(capsys, *train(tiny_pictures, tmp_path / "run", *flags))
    flags = (*flags, "--modelscope_access_token", "secret")
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    assert "pip install modelscope-hub" in refused(capsys, *train(tiny_pictures, tmp_path / "run", *flags))
    assert tree(tmp_path) == set()
    package = types.ModuleType("modelscope_hub")
    package.__spec__ = importlib.machinery.ModuleSpec("modelscope_hub", None)
    package.HubApi = HubApi
    monkeypatch.setitem(sys.modules, "modelscope_hub", package)
    assert main(train(tiny_pictures, tmp_path / "run", *flags)) == 0
    assert pushed == {"token": "secret", "me/my-lora": {"lora.safetensors", "configuration.json"}}
    assert "secret" not in json.dumps(read_lora(tmp_path / "run" / "lora.safetensors").metadata)


def test_what_is_not_given_comes_from_the_profile(tmp_path, tiny_pictures):
    assert main(train(tiny_pictures, tmp_path / "run", "--sample_prompt", "a cat", "--seed", 3)) == 0
    metadata = read_lora(tmp_path / "run/lora.safetensors").metadata
    assert metadata["recipe"]["learning_rate"] == 1e-3
    assert metadata["recipe"]["size"] is None  # the model's own
    assert metadata["recipe"]["seed"] == 3
    assert metadata["recipe"]["center_crop"] is False
    assert (metadata["rank"], metadata["alpha"]) == (4, 4.0)
    assert (tmp_path / "run/samples/step-000002.png").is_file()


def test_the_same_command_resumes_and_overwrite_starts_anew(capsys, tmp_path, tiny_pictures):
    arguments = train(tiny_pictures, tmp_path)
    assert main(arguments) == 0
    log = (tmp_path / "log.jsonl").read_bytes()
    assert main(arguments) == 0
    assert (tmp_path / "log.jsonl").read_bytes() == log  # nothing was left to do
    error = refused(capsys, *arguments, "--seed", 1)
    assert "--seed: 0 in the checkpoint, 1 now" in error
    assert main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert (tmp_path / "log.jsonl").read_bytes() != log


BAD_TRAINING = {
    "--steps_per_epoch 0": "--steps_per_epoch: must be a whole number from 1 to 10,000,000, not 0",
    "--max_epochs 0": "--max_epochs: must be a whole number from 1",
    "--batch_size 0": "batch_size",
    "--learning_rate 0": "learning_rate",
    "--learning_rate nan": "learning_rate",
    "--min_snr_gamma -1": "min_snr_gamma",
    "--caption_dropout 2": "caption_dropout",
    "--warmup_steps -1": "warmup",
    "--seed -1": "seed",
    "--lora_rank 0": "rank",
    "--lora_alpha 0": "alpha",
    "--lora_target_modules to_z": "to_z",
    "--lora_target_modules to_q,,to_k": "empty",
    "--width 40 --height 32": "multiples of 16",
    "--width 0 --height 0": "must be a whole number from 8",
    "--precision 8": "--precision",
    "--training_strategy deepspeed_stage_2": "pip install deepspeed",
    "--training_strategy ddp": "--training_strategy",
    "--debiased --min_snr_gamma 5": "debiased",
    "--patience 2": "--patience does nothing without --validation_share",
    "--validation_share 0.9": "too few",
    "--ema_decay 2": "ema_decay",
    "--pretrained_lora_path none.safetensors": "none.safetensors",
    "--prior_path none": "none",
    "--pretrained_unet_path u.safetensors": "all three",
    "--tokenizer_path nope": "--tokenizer_path does nothing without --pretrained_unet_path",
    "--masks": "cat-masklabel.png",
    "--prior_weight 2": "does nothing without --prior_path",
    "--huber_c 1": "does nothing without --loss huber",
    "--validate_every 2": "does nothing without --validation_share",
    "--sample_every 2": "does nothing without --sample_prompt",
    "--text_encoder_lr 1e-4": "does nothing without --text_encoder_lora",
    "--swanlab_mode local": "does nothing without --use_swanlab",
    "--adapter loha --init_lora_weights gaussian": "does nothing without --adapter lora",
    "--adapter lokr --lora_dropout 0.1": "not for LoKr",
    "--optimizer prodigy --loraplus_lr_ratio 4": "prodigy",
    "--model none --pretrained_unet_path u.safetensors": "give one of them",
    "--model none": "no model folder none",
}


@pytest.mark.parametrize("flags", BAD_TRAINING)
def test_train_lora_refuses_bad_flags_and_writes_nothing(capsys, tmp_path, tiny_pictures, flags):
    error = refused(capsys, *train(tiny_pictures, tmp_path / "run", "--overwrite"), *flags.split())
    assert BAD_TRAINING[flags] in error
    assert tree(tmp_path) == set()


def test_train_lora_refuses_datasets_that_are_missing_or_faulty(capsys, tmp_path, tiny_pictures):
    output = tmp_path / "run"
    assert "does not exist" in refused(capsys, *train(tmp_path / "none", output))
    data = shutil.copytree(tiny_pictures, tmp_path / "data")
    picture = data / "train" / "001.png"
    picture.write_bytes(picture.read_bytes()[:50])
    error = refused(capsys, *train(data, output))
    assert "line 3" in error
    assert "001.png" in error
    (data / "train" / "metadata.csv").write_text("file_name,caption\n000.png,a\n", encoding="utf-8")
    assert "line 1" in refused(capsys, *train(data, output))
    assert not output.exists()


def test_train_lora_refuses_an_output_that_is_a_file(capsys, tmp_path, tiny_pictures):
    (tmp_path / "file").touch()
    assert "cannot write" in refused(capsys, *train(tiny_pictures, tmp_path / "file"))
    assert "cannot write" in refused(capsys, *train(tiny_pictures, tmp_path / "file" / "run"))
    assert tree(tmp_path) == {"file"}


def test_a_training_that_diverges_ends_in_one_line(capsys, monkeypatch, tmp_path, tiny_pictures):
    loss = objective.denoising_loss
    monkeypatch.setattr(objective, "denoising_loss", lambda *arguments: loss(*arguments) * float("nan"))
    assert main(train(tiny_pictures, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    last = error.splitlines()[-1]
    assert last.startswith("error: ")
    assert "learning rate" in last
    assert not (tmp_path / "lora.safetensors").exists()


def test_the_metadata_of_a_trained_lora_is_readable_without_us(tmp_path, tiny_pictures):
    assert main(train(tiny_pictures, tmp_path)) == 0
    with safe_open(tmp_path / "lora.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["lora_adapter_metadata"])["unet.lora_alpha"] == 4.0
