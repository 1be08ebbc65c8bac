"""What `train-lora` says before and after, refuses for lack of memory, keeps along the way, and repeats."""

import pytest
import torch
from command_line import command, refused, tree
from safetensors.torch import load_file
from test_cli_train_lora import train

from kolors_course.cli import main, subparser
from kolors_course.cli import train_lora as module
from kolors_course.lora import read_lora

pytestmark = pytest.mark.usefixtures("tiny_profile")


def same(one, two) -> bool:
    one, two = (load_file(folder / "lora.safetensors") for folder in (one, two))
    return one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_the_banner_says_what_starts_and_the_end_lists_what_was_kept(capsys, tmp_path, tiny_pictures):
    flags = ("--steps_per_epoch", 3, "--save_every", 1, "--validation_share", 0.25, "--loraplus_lr_ratio", 4)
    assert main([*train(tiny_pictures, tmp_path), *command(*flags)]) == 0
    lines = capsys.readouterr().out.splitlines()
    pictures, training, learning, warnings = lines[:4]
    assert pictures == "pictures: 3 pictures at 32x32, 1 held out for validation"
    assert training.startswith(
        "training: 3 steps x 1 pictures, each picture 1 times; learning rate 0.001, 0.004 (adamw"
    )
    state = read_lora(tmp_path / "lora.safetensors").state_dict
    numbers = sum(tensor.numel() for tensor in state.values())
    assert learning.startswith(
        f"learning: {numbers:,} numbers of a LoRA of rank 4, alpha 4, on cpu, precision 32"
    )
    assert warnings.startswith("warnings: ")
    assert lines[-2] == "kept along the way: lora-step-000001.safetensors, lora-step-000002.safetensors"
    assert lines[-1] == f"wrote {tmp_path / 'lora.safetensors'}"


def test_config_yaml_repeats_the_run_bit_for_bit(tmp_path, tiny_pictures):
    flags = ("--lora_rank", 2, "--seed", 5, "--random_flip", "--lora_dropout", 0.2, "--ema_decay", 0.5)
    flags = (*flags, "--sample_prompt", "a cat --seed 3 --guidance 2", "--precision", "auto")
    assert main([*train(tiny_pictures, tmp_path / "x"), *command(*flags)]) == 0
    config = tmp_path / "x" / "config.yaml"
    again = command("train-lora", "--config", config, "--output_path", tmp_path / "y")
    assert main(again) == 0
    assert same(tmp_path / "x", tmp_path / "y")
    sheets = [(tmp_path / name / "samples" / "step-000002.png").read_bytes() for name in "xy"]
    assert sheets[0] == sheets[1]
    assert main([*again, "--output_path", str(tmp_path / "z"), "--seed", "6"]) == 0
    assert not same(tmp_path / "x", tmp_path / "z")
    assert main(command("train-lora", "--config", config)) == 0  # the finished run itself
    kept = (tmp_path / "y" / "config.yaml").read_text(encoding="utf-8")
    assert kept.replace(str(tmp_path / "y"), str(tmp_path / "x")) == config.read_text(encoding="utf-8")


def test_a_token_never_reaches_the_configuration(tmp_path, tiny_pictures):
    assert main(train(tiny_pictures, tmp_path)) == 0
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert "modelscope" not in text
    assert "overwrite" not in text


@pytest.mark.parametrize(
    "flags",
    [
        ("--batch_size", 100_000),
        ("--lora_rank", 16_384, "--lora_alpha", 1),
        ("--height", 16_384, "--width", 16_384),
        ("--batch_size", 100_000, "--buckets"),
    ],
)
def test_what_cannot_fit_is_refused_before_anything_is_loaded(
    capsys, monkeypatch, tmp_path, tiny_pictures, flags
):
    monkeypatch.setattr(module, "free_memory", lambda device: 2**28)
    monkeypatch.setattr(module, "train_lora", None)
    error = refused(capsys, *train(tiny_pictures, tmp_path / "run"), *flags)
    assert "GiB of memory are needed, but only 0.2 GiB are free here; lower --batch_size" in error
    assert tree(tmp_path) == set()


def test_memory_that_runs_out_later_is_one_line(capsys, monkeypatch, tmp_path, tiny_pictures):
    def grow(*arguments, **options):
        torch.empty(2**58)

    monkeypatch.setattr("kolors_course.training.objective.denoising_loss", grow)
    assert main(train(tiny_pictures, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    last = error.splitlines()[-1]
    assert last.startswith("error: the memory is not enough (it wanted ")
    assert "more): lower --batch_size, --lora_rank or" in last


TEN_TO_THE_12 = 10**12
IMPOSSIBLE = (-1, "nan", "inf", "-inf", TEN_TO_THE_12, 10**400, "x", "")


NUMBERS = [
    action.dest
    for action in subparser("train-lora")._actions
    if getattr(action.type, "__qualname__", "").startswith("number.")
]


@pytest.mark.parametrize("flag", NUMBERS)
def test_impossible_numbers_are_refused_with_flag_and_range(capsys, tmp_path, flag):
    assert len(NUMBERS) == 30
    for value in IMPOSSIBLE:
        if (flag, value) == ("max_grad_norm", TEN_TO_THE_12):  # as good as none
            continue
        error = refused(capsys, "train-lora", "--output_path", tmp_path / "run", f"--{flag}={value}")
        assert f"--{flag}: must be a " in error
        assert len(error) < 250
    assert tree(tmp_path) == set()
