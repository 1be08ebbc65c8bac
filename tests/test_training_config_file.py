"""config.yaml: what is read from it, what is refused, and that it gives the same recipe again."""

from dataclasses import replace

import pytest

from kolors_course.cli import subparser
from kolors_course.cli.recipes import check_ignored, recipe_of
from kolors_course.errors import CourseError
from kolors_course.kolors import current_profile
from kolors_course.lora import LoraSettings
from kolors_course.training.config_file import read_config, write_config
from kolors_course.training.losses import LossSettings
from kolors_course.training.names import FLAGS, NEEDS, flags_of
from kolors_course.training.optimizers import OptimizerSettings
from kolors_course.training.recipe import DataSettings, LoraTraining
from kolors_course.training.sample_prompts import SamplePrompt
from kolors_course.training.validation import ValidationSettings


def write(tmp_path, text: str):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_are_read_as_text_and_nothing_is_left_out(tmp_path):
    text = """
# a comment
lora_rank: 16
learning_rate: 1e-4
trigger: "yes"
masks: true
patience: null
width:
log_with: [csv, tensorboard]
sample_prompt:
  - 雪地上的兔子
  - {prompt: a cat, seed: 3}
"""
    assert read_config(write(tmp_path, text)) == {
        "lora_rank": "16",
        "learning_rate": "0.0001",
        "trigger": "yes",
        "masks": "true",
        "log_with": ["csv", "tensorboard"],
        "sample_prompt": ["雪地上的兔子", {"prompt": "a cat", "seed": "3"}],
    }


BAD = {
    "x: &x " + "y" * 10_000 + "\na: [" + "*x, " * 50 + "]": "aliases grow",
    "a: [[[[1]]]]": "a single value",
    "[" * 60_000: "nested more than",
    "- lora_rank": "lines such as lora_rank: 16",
    "text": "lines such as lora_rank: 16",
    "a: 1\na: 2": "line 2, column 1: .*twice",
    "? [1]\n: 2": "a key must be text",
    "a: {b: 1}": "a single value",
    "a: [{b: [1]}]": "a single value",
    "a: [null]": "a single value",
    "a: !!int 3": "the tag '!!int' is not read",
    "a: [": "line 1",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_what_is_no_configuration_is_told(tmp_path, text):
    with pytest.raises(CourseError, match=BAD[text]) as caught:
        read_config(write(tmp_path, text))
    assert "run.yaml" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(CourseError, match="does not exist"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(CourseError, match="is a folder"):
        read_config(tmp_path)


def parsed(*arguments):
    return subparser("train-lora").parse_args([str(argument) for argument in arguments])


RECIPES = [
    LoraTraining(),
    LoraTraining(loss=LossSettings(), size=(64, 48), warmup=0, steps=7, gradient_accumulation=3),
    LoraTraining(
        settings=LoraSettings(8, 2.5, ("to_q", "conv1"), use_dora=True, init="kaiming"),
        text_encoder_lora=True,
        text_learning_rate=3e-5,
        lora_dropout=0.25,
        loraplus_ratio=16.0,
        loss=LossSettings("huber", 0.3, debiased=True, noise_offset=0.05),
        optimizer=OptimizerSettings(schedule="linear"),
        data=DataSettings(True, True, True, 'a "sks", #1: -x', 0.5),
        validation=ValidationSettings(0.25, 7, patience=3),
        random_flip=True,
        center_crop=False,
        ema_decay=0.99,
        precision="bf16",
        save_every=5,
        sample_every=9,
        sample_prompts=("-5 猫", SamplePrompt("a cat", 3, "blurry: dark", 2.5)),
    ),
    LoraTraining(settings=LoraSettings(4, 4.0, adapter="loha"), optimizer=OptimizerSettings("prodigy")),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_a_written_configuration_gives_the_same_recipe(tmp_path, recipe):
    others = {"dataset_path": "a b", "prior_path": "p" if recipe.data.prior_weight != 1 else None}
    path = tmp_path / "config.yaml"
    write_config(path, flags_of(recipe, recipe.precision, others))
    arguments = parsed("--config", path)
    check_ignored(arguments)
    assert arguments.dataset_path == "a b"
    if recipe.settings.adapter != "lora":  # its start cannot be chosen
        recipe = replace(recipe, settings=replace(recipe.settings, init="kaiming"))
    assert recipe_of(arguments, current_profile("kolors")) == recipe


def test_every_setting_has_a_flag():
    known = {flag for action in subparser("train-lora")._actions for flag in action.option_strings}
    no_flag = {"validation.timesteps", "processes"}
    for setting, text in FLAGS.items():
        for flag in text.replace(" x ", ", ").split(", "):
            assert flag in known or setting in no_flag, setting
    assert {f"--{flag}" for flag in NEEDS} | {f"--{other}" for other, _ in NEEDS.values()} <= known


def test_the_command_line_wins(tmp_path):
    text = "lora_rank: 16\ncenter_crop: true\nbatch-size: 3\nsample_prompt: [a, b]\nlog_with: csv\n"
    path = write(tmp_path, text)
    arguments = parsed(
        "--lora_rank", 4, "--config", path, "--no-center-crop", "--sample_prompt", "c --seed 5"
    )
    assert arguments.lora_rank == 4  # although that is its default
    assert arguments.center_crop is False
    assert arguments.batch_size == 3
    assert arguments.sample_prompt == [SamplePrompt("c", 5)]
    assert arguments.log_with == ["csv"]
    assert parsed("--config", path).sample_prompt == [SamplePrompt("a"), SamplePrompt("b")]


def test_a_configuration_without_a_name_is_refused():
    with pytest.raises(CourseError, match="is a folder|does not exist"):
        parsed("--config", "")


WRONG = {
    "lora_rnk: 4": "there is no flag lora_rnk; did you mean lora_rank",
    "qqqqqq: 4": "there is no flag qqqqqq; the flags are listed",
    f"{'x' * 500}: 4": "there is no flag xxxxxxxxxxxxxxxxxxxxxxx…",
    "modelscope_access_token: secret": "there is no flag",
    "config: other.yaml": "there is no flag",
    "lora_rank: 0": "--lora_rank: must be a whole number from 1 to 16,384, not 0$",
    "lora_rank: [4]": "takes one value",
    "precision: 8": "--precision: invalid choice",
    "masks: maybe": "write true or false",
    "masks: [true]": "write true or false",
    "masks: 1": "write true or false",
    "log_with: [{a: b}]": "takes a plain value",
    "sample_prompt: [{text: a}]": "there is no text",
    "sample_prompt: [{seed: 3}]": "run.yaml: sample_prompt: .*is empty",
    "sample_prompt: [{prompt: a, negative: x --seed 9}]": "give prompt, negative apart, without --",
    "lora_rank: 16\nlora-rank: 8": "lora_rank stands there twice, as lora_rank and as lora-rank",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_mistakes_in_the_file_are_told_with_its_name(tmp_path, text):
    with pytest.raises(CourseError, match=WRONG[text]) as caught:
        parsed("--config", write(tmp_path, text))
    assert "run.yaml" in str(caught.value) or "sample prompt" in str(caught.value)
