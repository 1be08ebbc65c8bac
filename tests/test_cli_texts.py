"""Texts on the command line: in other bytes than UTF-8, and in words that Kolors-mini does not know."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from command_line import command, refused
from safetensors.torch import save_file

from kolors_course.cli import main
from kolors_course.comfyui.wires import StyledModel
from kolors_course.errors import CourseError
from kolors_course.kolors import encode_prompts, encode_prompts_padded
from kolors_course.kolors.words import unknown_note
from kolors_course.lora.triggers import trigger_words
from kolors_course.story import parse_storyboard

GBK = os.fsdecode("一只狗".encode("gbk"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("generate", "--prompt", GBK), "prompt"),
        (("generate", f"--prompt={GBK}"), "prompt"),
        (("generate", "--prompt", "a dog", "--negative", GBK), "negative"),
        (("words", "--prompt", GBK), "prompt"),
        (("sweep", "--x", "steps=1,2", "--prompt", GBK), "prompt"),
        (("sweep", "--x", f"word=cat,{GBK}", "--prompt", "a cat"), "word"),
        (("train-lora", "--trigger", GBK), "trigger"),
        (("train-lora", "--sample_prompt", "a dog", "--sample_prompt", GBK), "sample prompt"),
        (("comfyui", "start", "--origin", GBK), "origin"),
    ],
)
def test_texts_in_gbk_are_refused_by_name(capsys, arguments, named):
    message = refused(capsys, *arguments)
    assert f"the {named} is not UTF-8: '" in message
    assert r"\xd2\xbb" in message or r"\xb7" in message
    assert len(message) < 300


def test_a_text_in_gbk_that_is_valid_utf8_by_chance_is_refused_too(capsys):
    """ "一只猫" in the bytes of GBK reads һֻè in UTF-8."""
    prompt = os.fsdecode("一只猫".encode("gbk"))
    prompt.encode("utf-8")
    assert "the prompt is not UTF-8: 'һֻè'" in refused(capsys, "generate", "--prompt", prompt)


def test_a_long_text_is_not_repeated(capsys):
    assert len(refused(capsys, "generate", "--prompt", GBK * 1000)) < 400


@pytest.mark.parametrize("flag", ["--sampler", "--nonsense", "--steps"])
def test_a_long_value_is_not_repeated_by_argparse_either(capsys, flag):
    message = refused(capsys, "generate", "--prompt", "a dog", flag, "xy " * 10_000)
    assert flag in message
    assert message.endswith("see kolors-course generate --help\n")
    assert len(message) < 600


def test_no_message_steers_the_terminal_or_fills_it(capsys, tmp_path):
    for name in ("\x1b[31mred", "x" * 5000):
        message = refused(capsys, "train-lora", "--config", tmp_path / name)
        assert "\x1b" not in message
        assert len(message) < 600


def test_names_of_files_may_be_anything(capsys, tmp_path):
    missing = os.fsdecode(os.fsencode(tmp_path) + b"/\xb9\xb7")
    assert r"\xb9\xb7" in refused(capsys, "generate", "--prompt", "a dog", "--model", missing)
    assert r"\xb9\xb7" in refused(capsys, "inspect-lora", missing)
    assert r"\xb9\xb7" in refused(capsys, "train-lora", "--dataset_path", missing)


def test_prompts_are_checked_where_they_are_encoded(tiny_model):
    for encode in (encode_prompts, encode_prompts_padded):
        with pytest.raises(CourseError, match=r"the prompt is not UTF-8: '.*\\xb7'"):
            encode(tiny_model.tokenizer, tiny_model.text_encoder, ["a dog", GBK])


@pytest.mark.parametrize("key", ["prompt", "caption_zh"])
def test_storyboards_too(key):
    panel = {"prompt": "a dog", "caption_zh": "狗", "caption_en": "a dog"} | {key: "a \\ud83d"}
    lines = [f'  {"- " if i == 0 else "  "}{name}: "{text}"' for i, (name, text) in enumerate(panel.items())]
    text = "\n".join(["title_zh: 狗", "title_en: Dog", "panels:", *lines])
    with pytest.raises(CourseError, match="is not UTF-8|is not allowed in a text"):
        parse_storyboard(text, "story.yaml")


# Words


@pytest.fixture
def lora_with_trigger(tmp_path):
    path = tmp_path / "unicorn.safetensors"
    course = {"recipe": {"data": {"trigger": "unicorn"}}}
    metadata = {"kolors_course": json.dumps(course), "modelspec.trigger_phrase": "二次元, sks"}
    save_file({"a": torch.zeros(1)}, path, metadata)
    return path


def test_generate_and_story_name_unknown_words(capsys, tiny_profile, tmp_path):
    flags = ("--steps", 1, "--size", "32x32", "-o")
    assert main(command("generate", "--prompt", "a unicorn, 二次元", *flags, tmp_path / "a.png")) == 0
    line = "Kolors-mini does not know: unicorn, 二次元; see kolors-course words"
    assert line in capsys.readouterr().out.splitlines()
    assert main(command("generate", "--prompt", "a cat at night", *flags, tmp_path / "a.png")) == 0
    assert "does not know" not in capsys.readouterr().out
    panels = [
        f'  - {{prompt: "{p}", caption_zh: 猫, caption_en: A cat}}' for p in ("a unicorn", "二次元的一只猫")
    ]
    story = tmp_path / "story.yaml"
    story.write_text("\n".join(["title_zh: 猫", "title_en: Cat", "panels:", *panels]), encoding="utf-8")
    assert main(command("story", story, *flags, tmp_path / "story")) == 0
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "--prompt", "a (dog"),
        ("generate", "--prompt", "a dog", "--negative", "a (dog"),
        ("sweep", "--x", "steps=1,2", "--prompt", "a (dog"),
        ("sweep", "--x", "word=dog,(dog", "--prompt", "a dog"),
        ("train-lora", "--sample_prompt", "a (dog"),
        ("words", "--prompt", "a (dog"),
    ],
)
def test_wrong_weights_are_refused_before_a_model_is_loaded(capsys, monkeypatch, arguments):
    monkeypatch.setattr("kolors_course.cli.options.load_profile", None)
    message = refused(capsys, *arguments)
    assert "the prompt at character 3, '(dog': '(' is never closed" in message


def test_other_models_are_not_judged(tiny_model):
    assert unknown_note(tiny_model, ["a unicorn"]) != ""
    full = SimpleNamespace(config=SimpleNamespace(padded_vocab_size=65024))
    assert unknown_note(replace(tiny_model, text_encoder=full), ["a unicorn"]) == ""


def test_many_and_long_words_stay_one_short_line(tiny_model):
    note = unknown_note(tiny_model, ["x" * 5000, *(f"word{i}" for i in range(500))])
    assert note.startswith("Kolors-mini does not know: xxx")
    assert note.endswith("… and 493 more; see kolors-course words".removeprefix("…"))
    assert len(note) < 200


def test_what_loras_call_their_trigger(tiny_model, lora_with_trigger, tmp_path):
    assert set(trigger_words(lora_with_trigger)) == {"unicorn", "二次元, sks"}
    assert unknown_note(tiny_model, ["a sks unicorn, 二次元"], trigger_words(lora_with_trigger)) == ""
    for content in (b"", b"nonsense", b"\x80\2}."):
        (tmp_path / "other.ckpt").write_bytes(content)
        assert trigger_words(tmp_path / "other.ckpt") == ()
    assert trigger_words(tmp_path / "missing.safetensors") == ()


def test_the_nodes_say_so_of_the_model_on_their_wire(tiny_model, lora_with_trigger):
    plain = StyledModel(tiny_model, tiny_model)
    assert plain.unknown_words(["a cat", "a unicorn"]).startswith("Kolors-mini does not know: unicorn; see")
    assert replace(plain, loras=((lora_with_trigger, 1.0),)).unknown_words(["a unicorn"]) == ""


def test_the_command_words(capsys, tmp_path):
    assert main(command("words", "--json", tmp_path / "words.json")) == 0
    out = capsys.readouterr().out
    assert "  rabbit, bunny · 兔子、白兔" in out.splitlines()
    assert "styles · 风格 (4)" in out.splitlines()
    facts = json.loads((tmp_path / "words.json").read_text(encoding="utf-8"))
    assert facts["animals"]["entries"][0] == {
        "name": "rabbit",
        "en": ["rabbit", "bunny"],
        "zh": ["兔子", "白兔"],
    }
    assert main(command("words", "--prompt", "一只独角兽")) == 0
    assert capsys.readouterr().out == "Kolors-mini does not know: 独角兽\n"
    assert main(command("words", "--prompt", "一只（猫：1.3）")) == 0
    assert capsys.readouterr().out == "Kolors-mini knows every word\n"
