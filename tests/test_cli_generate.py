"""`kolors-course generate`: what it writes, and how it refuses."""

import os
import shutil

import pytest
import torch
from command_line import command, refused, tree
from PIL import Image, ImageChops
from tiny import build_tiny

from kolors_course.cli import main
from kolors_course.kolors import load_model, new_controlnet, save_controlnet

pytestmark = pytest.mark.usefixtures("tiny_profile")


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
        "spacing": "trailing",  # the model's own
        "denoise": "1.0",
        "image": "",
        "mask": "",
        "control": "",
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
    arguments = ("--count", 2, "--scale", 2, "--size", "48x32", "--sampler", "dpm++2m", "--batch_size", 1)
    assert main(generate(output, *arguments)) == 0
    assert Image.open(output).size == (2 * 2 * 48, 2 * 32)


def test_generate_from_a_picture_keeps_some_of_it_and_says_which(tmp_path):
    first, last = tmp_path / "first.png", tmp_path / "last.png"
    assert main(generate(first, "--seed", 3)) == 0
    flags = ("--image", first, "--denoise", 0.5, "--sampler", "ddim-eta1", "--spacing", "trailing")
    assert main(generate(last, *flags)) == 0
    facts = Image.open(last).text
    assert (facts["image"], facts["denoise"], facts["sampler"]) == ("first.png", "0.5", "ddim-eta1")
    assert Image.open(first).tobytes() != Image.open(last).tobytes()


def test_generate_draws_what_is_white_in_a_mask_and_says_which(tmp_path):
    first, mask, last = (tmp_path / name for name in ("first.png", "mask.png", "last.png"))
    assert main(generate(first, "--seed", 3)) == 0
    white = Image.new("L", (32, 32))
    white.paste(255, (8, 8, 24, 24))
    white.save(mask)
    assert main(generate(last, "--seed", 4, "--image", first, "--mask", mask)) == 0
    before, after = Image.open(first), Image.open(last)
    assert after.text["mask"] == "mask.png"
    box = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert min(left, top) >= 8
    assert max(right, bottom) <= 24


BAD_FLAGS = {
    "--size 33x32": "33x32",
    "--size 32": "--size: must be width x height in pixels, each a whole number from 1 to 65,536",
    "--size ²x32": "size",
    "--size 0x0": "0x0",
    "--size 65536x65536": "of memory, and",
    "--size 100000x100000": "--size",
    "--count 9999999999": "--count: must be a whole number from 1 to 10,000",
    "--count 2 --seed 4294967295": "seed 4294967296 is out of range",
    "--scale 9999999999": "--scale: must be a whole number",
    "--scale 256 --count 10000": "of memory, and",
    "--negative dog --guidance 1": "--negative has no effect",
    "--batch_size 1000000000": "batch_size",
    "--steps 0": "steps",
    "--steps 2000": "2000",
    "--guidance nan": "guidance",
    "--seed -1": "seed",
    "--seed 99999999999999999999999": "seed",
    "--count 0": "--count",
    "--scale 0": "--scale",
    "--batch_size 0": "batch_size",
    "--sampler magic": "magic",
    "--sampler lcm --spacing trailing": "spacing",
    "--denoise 0.5": "needs a picture",
    "--denoise 0.1": "denoise",
    "--image none.png": "none.png does not exist",
    "--control cat.png": "is no control; write KIND:FILE",
    "--control pose:cat.png": "'pose' is not one of canny, drawing, boxes, hint",
    "--control canny:none.png": "none.png does not exist",
    "--control boxes:1,2,3": "write left,top,right,bottom",
    "--control boxes:0,0,1,1 --controlnet none": "there is no ControlNet folder none",
    "--controlnet data": "--controlnet without --control changes nothing",
    "--mask none.png": "--mask needs the --image that it is painted on",
    "--image data/fonts --mask data/fonts": "is a folder",
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


def facts_of(path) -> tuple[list[str], int]:
    with Image.open(path) as picture:
        return picture.text["prompt"].split("\n"), picture.width // 32


def test_a_template_gives_each_seed_its_own_prompt(capsys, tmp_path):
    template, words = "a {cat|dog|fox} __place__", tmp_path / "words"
    words.mkdir()
    (words / "place.txt").write_text("at night\nin the forest\n", encoding="utf-8")
    flags = ("generate", "--template", template, "--words", words, "--steps", 1)
    assert main(command(*flags, "--count", 3, "--seed", 5, "-o", tmp_path / "three.png")) == 0
    prompts, pictures = facts_of(tmp_path / "three.png")
    assert pictures == len(prompts) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [f"seed {5 + i}: {prompt}" for i, prompt in enumerate(prompts)] == lines[:3]
    assert main(command(*flags, "--seed", 6, "-o", tmp_path / "one.png")) == 0
    assert facts_of(tmp_path / "one.png") == ([prompts[1]], 1)
    sheet, one = (Image.open(tmp_path / name) for name in ("three.png", "one.png"))
    assert sheet.crop((32, 0, 64, 32)).tobytes() == one.tobytes()
    assert sheet.text["template"] == template
    assert main(command(*flags, "--each", "-o", tmp_path / "all.png")) == 0
    prompts, pictures = facts_of(tmp_path / "all.png")
    assert pictures == len(set(prompts)) == 6


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--prompt", "a cat", "--template", "a dog"), "not allowed with"),
        (("--prompt", "a cat", "--each"), "need a --template"),
        (("--prompt", "a cat", "--words", "."), "need a --template"),
        (("--template", "{a|b", "--each"), "'{' is never closed"),
        (("--template", "a __place__"), "there are no words for __place__"),
        (("--template", "{a|b}", "--each", "--count", "2"), "give one of them"),
        (("--template", "{a|b}" * 20, "--each"), "makes 1,048,576 prompts, and at most 10,000"),
        (("--template", "{a|(b}", "--each"), "the prompt at character 1, '(b'"),
    ],
)
def test_templates_that_are_refused(capsys, tmp_path, flags, message):
    assert message in refused(capsys, "generate", *flags, "-o", tmp_path / "a.png")
    assert tree(tmp_path) == set()


def test_generate_is_led_by_hints_and_says_which(tmp_path, tiny_folder):
    model = load_model(tiny_folder)
    net = new_controlnet(model)
    torch.nn.init.normal_(net.controlnet_mid_block.weight)
    save_controlnet(net, tmp_path / "net")
    picture, plain, led = (tmp_path / name for name in ("hint.png", "plain.png", "led.png"))
    Image.effect_noise((32, 32), 90).save(picture)
    assert main(generate(plain)) == 0
    flags = (
        "--control",
        f"canny:{picture}:0.8",
        "--control",
        "boxes:0,0,0.5,1",
        "--controlnet",
        tmp_path / "net",
    )
    assert main(generate(led, *flags)) == 0
    assert Image.open(led).text["control"] == f"canny:{picture}:0.8 boxes:0,0,0.5,1"
    assert Image.open(led).tobytes() != Image.open(plain).tobytes()
