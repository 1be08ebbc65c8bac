"""The command line: what it writes, and how it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers.utils import logging as transformers_logging

from kolors_course.cli import COMMANDS, main
from kolors_course.kolors import load_model
from kolors_course.lora import LoraSettings, add_lora, lora_parameters, read_lora, save_lora

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tiny_folder):
    """The profile mini is the tiny model; transformers' bars, which a fresh process never shows, are off."""
    monkeypatch.setenv("KOLORS_MODEL", str(tiny_folder))
    monkeypatch.delenv("KOLORS_PROFILE", raising=False)
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    yield
    if shown:
        transformers_logging.enable_progress_bar()


@pytest.fixture(scope="module")
def lora_file(tiny_folder, tmp_path_factory) -> Path:
    model = load_model(tiny_folder)
    settings = LoraSettings(rank=2, alpha=4.0)
    add_lora(model.unet, settings, generator=torch.Generator().manual_seed(0))
    for parameter in lora_parameters(model.unet):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    path = tmp_path_factory.mktemp("loras") / "ink.safetensors"
    return save_lora(path, model.unet, settings, base_model="tiny", dataset_hash="0" * 64)


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def command(*arguments) -> list[str]:
    return [str(argument) for argument in arguments]


def refused(capsys, *arguments) -> str:
    """Run a command that must fail, and return its one line."""
    capsys.readouterr()
    assert main(command(*arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert error.endswith("\n")
    return error


# Help and the unknown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(capsys, name):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"kolors-course {name}" in text
    assert "--debug" in text


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_help_names_every_command(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in COMMANDS)


def test_unknown_commands_and_flags_are_refused_in_one_line(capsys):
    assert "invalid choice: 'paint'" in refused(capsys, "paint")
    assert "--colour" in refused(capsys, "generate", "--prompt", "a", "--colour", "red")
    assert "--prompt" in refused(capsys, "generate")
    assert "invalid int value: 'many'" in refused(capsys, "generate", "--prompt", "a", "--steps", "many")
    assert "--dataset_path" in refused(capsys, "train-lora")


def test_a_traceback_only_with_debug(capsys, tmp_path):
    with pytest.raises(Exception, match="no model folder"):
        main(command("generate", "--prompt", "a", "--model", tmp_path / "none", "--debug"))


def test_an_interrupt_is_told(capsys, monkeypatch):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("kolors_course.cli.doctor.run", interrupt)
    assert main(["doctor"]) == 130
    assert "stopped" in capsys.readouterr().err


# generate


def generate(output, *arguments) -> list[str]:
    return command("generate", "--prompt", "夜晚的兔子", "--steps", 2, "-o", output, *arguments)


def test_generate_writes_a_picture_that_says_how_it_was_made(capsys, tmp_path, lora_file):
    output = tmp_path / "new" / "rabbit.png"
    lora = f"{lora_file}:0.5"
    assert main(generate(output, "--seed", 7, "--negative", "红色", "--lora", lora, "--guidance", 3)) == 0
    picture = Image.open(output)
    assert picture.size == (32, 32)
    assert picture.text == {
        "model": "tiny",
        "prompt": "夜晚的兔子",
        "negative": "红色",
        "seed": "7",
        "steps": "2",
        "guidance": "3.0",
        "sampler": "euler",
        "lora": lora,
    }
    out, err = capsys.readouterr()
    assert "strength 0.5" in out
    assert f"wrote {output}" in out
    assert err == ""
    assert tree(tmp_path) == {"new", "new/rabbit.png"}


def test_generate_again_gives_the_same_pixels_and_a_lora_changes_them(tmp_path, lora_file):
    files = [tmp_path / f"{i}.png" for i in range(4)]
    extra = [[], [], ["--lora", lora_file], ["--lora", f"{lora_file}:0"]]
    for file, arguments in zip(files, extra, strict=True):
        assert main(generate(file, *arguments)) == 0
    pixels = [Image.open(file).tobytes() for file in files]
    assert pixels[0] == pixels[1] == pixels[3]
    assert pixels[2] != pixels[0]


def test_generate_several_enlarged_as_jpeg(tmp_path):
    output = tmp_path / "row.jpg"
    arguments = ("--count", 2, "--scale", 2, "--size", "48x32", "--sampler", "dpm++2m", "--batch-size", 1)
    assert main(generate(output, *arguments)) == 0
    assert Image.open(output).size == (2 * 2 * 48, 2 * 32)


BAD_FLAGS = {
    "--size 33x32": "33x32",
    "--size 32": "size '32'",
    "--size ²x32": "size",
    "--size 0x0": "0x0",
    "--steps 0": "steps",
    "--steps 2000": "2000",
    "--guidance nan": "guidance",
    "--seed -1": "seed",
    "--seed 99999999999999999999999": "seed",
    "--count 0": "--count",
    "--scale 0": "--scale",
    "--batch-size 0": "batch_size",
    "--sampler magic": "magic",
    "--lora none.safetensors": "no LoRA file none.safetensors",
    "--lora ink:strong": "strong",
    "--device abacus": "abacus",
    "--model none": "no model folder none",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_generate_refuses_bad_flags_and_writes_nothing(capsys, tmp_path, flags):
    assert BAD_FLAGS[flags] in refused(capsys, *generate(tmp_path / "a.png"), *flags.split())
    assert tree(tmp_path) == set()


def test_generate_refuses_bad_outputs(capsys, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "folder.png").mkdir()
    for output in ("file/a.png", "folder.png", "a", "a.txt", "."):
        refused(capsys, *generate(tmp_path / output))
    assert tree(tmp_path) == {"file", "folder.png"}
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_generate_refuses_loras_that_are_broken_or_of_another_model(capsys, tmp_path, lora_file):
    from tiny import build_tiny

    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(lora_file.read_bytes()[:-100])
    assert "cut short" in refused(capsys, *generate(tmp_path / "a.png", "--lora", cut))
    model = build_tiny(tmp_path / "wide", blocks=(32, 96, 96))
    error = refused(capsys, *generate(tmp_path / "a.png", "--lora", lora_file, "--model", model))
    assert "ink.safetensors" in error
    assert "trained on tiny" in error
    assert not (tmp_path / "a.png").exists()


def test_generate_refuses_an_unknown_profile(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KOLORS_PROFILE", "sdxl")
    assert "KOLORS_PROFILE" in refused(capsys, *generate(tmp_path / "a.png"))


def test_a_broken_model_is_one_line(capsys, tmp_path, tiny_folder):
    model = shutil.copytree(tiny_folder, tmp_path / "model", copy_function=os.link)
    file = model / "vae/diffusion_pytorch_model.safetensors"
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-5])
    assert "cannot load the model model" in refused(capsys, *generate(tmp_path / "a.png", "--model", model))


# train-lora


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


# The other commands


def test_check_dataset_reports_and_fails_on_faults(capsys, tmp_path, tiny_pictures):
    report = tmp_path / "report.json"
    assert main(command("check-dataset", tiny_pictures, "--json", report)) == 0
    assert "ready to train on" in capsys.readouterr().out
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert (facts["ok"], facts["pictures"]) == (True, 4)
    assert main(command("check-dataset", tmp_path, "--json", report)) == 2
    out, err = capsys.readouterr()
    assert "problem: metadata.csv is missing" in out
    assert err == ""
    assert json.loads(report.read_text(encoding="utf-8"))["ok"] is False


def test_doctor_writes_its_report(capsys, tmp_path):
    report = tmp_path / "sub" / "doctor.json"
    assert main(command("doctor", "--json", report)) == 0
    assert json.loads(report.read_text(encoding="utf-8"))
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_json_that_cannot_be_written_is_one_line(capsys, tmp_path, tiny_pictures):
    (tmp_path / "file").touch()
    refused(capsys, "check-dataset", tiny_pictures, "--json", tmp_path / "file" / "report.json")
    refused(capsys, "check-dataset", tiny_pictures, "--json", tmp_path)
    assert tree(tmp_path) == {"file"}


def test_evaluate_writes_scores_table_and_sheet(capsys, monkeypatch, tmp_path):
    from kolors_course.evaluation import Probe

    torch.manual_seed(0)
    monkeypatch.setattr("kolors_course.cli.evaluate.load_probe", lambda path: Probe().eval())
    output, report = tmp_path / "out", tmp_path / "report.json"
    arguments = ("--scenes", 2, "--steps", 1, "--style", "ink", "-o", output, "--json", report)
    assert main(command("evaluate", *arguments)) == 0
    assert tree(output) == {"scores.json", "scores.md", "sheet.png"}
    scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert scores == json.loads(report.read_text(encoding="utf-8"))
    assert (scores["model"], scores["style"]) == ("tiny", "ink")
    assert {name: column["prompts"] for name, column in scores["scores"].items()} == {
        "both": 4,
        "en": 2,
        "zh": 2,
    }
    assert (output / "scores.md").read_text(encoding="utf-8") in capsys.readouterr().out


def test_evaluate_refuses_bad_flags_and_writes_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("kolors_course.cli.evaluate.load_probe", lambda path: None)
    for flags in (
        ("--scenes", 0),
        ("--style", "oil"),
        ("--steps", 0),
        ("--model", "none"),
        ("--lora", "none"),
    ):
        refused(capsys, "evaluate", "-o", tmp_path / "out", *flags)
    assert tree(tmp_path) == set()


def test_train_mini_wants_its_stages_in_order(capsys, tmp_path):
    assert "stage vae first" in refused(capsys, "train-mini", "-o", tmp_path, "--stage", "base")


# A process of its own


def run_process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "kolors_course", *command(*arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_a_process_says_only_what_it_has_to(tmp_path, tiny_folder, lora_file):
    good = run_process(*generate(tmp_path / "a.png", "--lora", lora_file), KOLORS_MODEL=str(tiny_folder))
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.splitlines()[-1] == f"wrote {tmp_path / 'a.png'}"
    bad = run_process(*generate(tmp_path / "b.png", "--size", "33x33"), KOLORS_MODEL=str(tiny_folder))
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: size 33x33")
    assert bad.stderr.count("\n") == 1
    assert tree(tmp_path) == {"a.png"}


def test_the_metadata_of_a_trained_lora_is_readable_without_us(tmp_path, tiny_pictures):
    assert main(train(tiny_pictures, tmp_path)) == 0
    with safe_open(tmp_path / "lora.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["lora_adapter_metadata"])["unet.lora_alpha"] == 4.0
