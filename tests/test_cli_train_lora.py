"""`kolors-course train-lora`: the camp's flags, resuming, and how it refuses."""

import json
import shutil

import pytest
from command_line import command, refused, tree
from safetensors import safe_open

from kolors_course.cli import main
from kolors_course.lora import read_lora

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
        *("--max_epochs", 2, "--steps_per_epoch", 1, "--height", 32, "--width", 48),
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
    assert (recipe["steps"], recipe["size"], recipe["gradient_accumulation"]) == (2, [48, 32], 2)
    assert recipe["random_flip"] is recipe["center_crop"] is recipe["gradient_checkpointing"] is True
    assert (recipe["precision"], recipe["learning_rate"]) == ("16-mixed", 1e-4)
    assert lora.metadata["command"].startswith("kolors-course train-lora --pretrained_unet_path ")
    assert "--lora_rank 16" in lora.metadata["command"]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["steps"] == 2
    assert report["lora"] == str(output / "lora.safetensors")
    assert report["first_loss"] > 0
    assert "2 steps, loss" in capsys.readouterr().out
    assert tree(output) == {"checkpoint.pt", "log.jsonl", "lora.safetensors"}


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
    assert "(seed)" in error
    assert main([*arguments, "--seed", "1", "--overwrite"]) == 0
    assert (tmp_path / "log.jsonl").read_bytes() != log


BAD_TRAINING = {
    "--steps_per_epoch 0": "steps must be at least 1",
    "--max_epochs 0": "steps",
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
    "--width 32": "--height",
    "--width 40 --height 32": "multiples of 16",
    "--width 0 --height 0": "multiples of 16",
    "--precision 8": "--precision",
    "--training_strategy deepspeed_stage_2": "deepspeed_stage_2",
    "--pretrained_unet_path u.safetensors": "all three",
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


def test_a_training_that_diverges_ends_in_one_line(capsys, tmp_path, tiny_pictures):
    arguments = ("--steps_per_epoch", 5, "--learning_rate", 1e30, "--warmup_steps", 0)
    assert main([*train(tiny_pictures, tmp_path), *command(*arguments)]) == 2
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
