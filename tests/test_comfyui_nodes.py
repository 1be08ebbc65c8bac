"""The nodes in a real ComfyUI, against the library: same pictures, nothing mutated, clear refusals, Stop."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from comfyui_process import Worker
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import build_tiny

from kolors_course.comfyui.server import NODES
from kolors_course.comfyui.wires import StyledModel
from kolors_course.kolors import Sampling, generate, load_model
from kolors_course.lora import load_lora
from kolors_course.story import draw_story, parse_storyboard, story_page

PROMPT, NEGATIVE, SEED, STEPS = "夜晚雪地上的一只兔子", "red", 7, 4
STORY = """
title_zh: 两格
title_en: Two panels
seed: 3
panels:
  - {prompt: 一只兔子, caption_zh: 兔子, caption_en: Rabbit}
  - {prompt: a red cat, caption_zh: 小猫, caption_en: Cat}
"""


@pytest.fixture(scope="module")
def worker(tiny_folder, lora_file, tmp_path_factory):
    """ComfyUI, whose profile mini is the tiny Kolors and whose models/loras holds LoRAs for and not for it."""
    base = tmp_path_factory.mktemp("comfyui")
    loras = base / "models" / "loras"
    loras.mkdir(parents=True)
    shutil.copy(lora_file, loras / "ink.safetensors")
    tensors = load_file(lora_file)
    save_file(tensors, loras / "no-alpha.safetensors")
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, loras / "second.safetensors")
    strange = {
        "unet.elsewhere.lora_A.weight": torch.ones(2, 3),
        "unet.elsewhere.lora_B.weight": torch.ones(3, 2),
    }
    save_file(strange, loras / "strange.safetensors")
    (loras / "cut.safetensors").write_bytes(lora_file.read_bytes()[:-100])
    build_tiny(base / "models" / "diffusers" / "wide", blocks=(32, 96, 96))
    worker = Worker(base, {"KOLORS_MODEL": str(tiny_folder), "OMP_NUM_THREADS": str(torch.get_num_threads())})
    yield worker
    worker.close()


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


def prompt_of(model="mini", loras=(), prefix="picture", **sampling) -> dict:
    """Load, LoRAs, prompt, sample, decode, save; a link is [id, slot]."""
    prompt = {"load": node("KolorsCourseLoadModel", model_name=model, precision="auto")}
    styled = ["load", 0]
    for i, (name, strength, alpha) in enumerate(loras):
        options = {"lora_name": name, "strength": strength, "alpha": alpha}
        prompt[f"lora{i}"] = node("KolorsCourseLoadLora", model=styled, **options)
        styled = [f"lora{i}", 0]
    settings = {
        "seed": SEED,
        "steps": STEPS,
        "guidance_scale": 5.0,
        "sampler": "euler",
        "spacing": "leading",
        "width": 0,
        "height": 0,
        "batch_size": 1,
        "denoise": 1.0,
    }
    return prompt | {
        "prompt": node("KolorsCoursePrompt", model=["load", 0], prompt=PROMPT, negative_prompt=NEGATIVE),
        "sample": node("KolorsCourseSampler", model=styled, prompt=["prompt", 0], **settings | sampling),
        "decode": node("KolorsCourseDecode", model=["load", 0], latent=["sample", 0]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix=prefix),
    }


def library(model, count=1, picture=None, **sampling) -> list[np.ndarray]:
    """What `generate` draws for the inputs of `prompt_of`."""
    settings = Sampling(**{"steps": STEPS, "negative_prompt": NEGATIVE, **sampling})
    seeds = range(SEED, SEED + count)
    return [np.asarray(p) for p in generate(model, [PROMPT] * count, seeds, settings, picture=picture)]


def assert_equal(pictures, expected):
    """Bit by bit; but prompts that were encoded in batches of other sizes may round one pixel otherwise."""
    assert len(pictures) == len(expected)
    for one, two in zip(pictures, expected, strict=True):
        np.testing.assert_allclose(one.astype(int), two.astype(int), rtol=0, atol=int(len(pictures) > 1))


def refusal(answer: dict) -> str:
    """The one message of a prompt that was not executed."""
    assert "success" not in answer, answer
    (errors,) = ([*node["errors"]] for node in answer["node_errors"].values())
    return errors[0]["details"]


def failure(answer: dict) -> str:
    """The message of a prompt that failed while it was executed."""
    assert answer["success"] is False
    name, data = answer["messages"][-1]
    assert name == "execution_error"
    assert data["exception_type"].startswith("kolors_course.")
    return data["exception_message"]


def cached(answer: dict) -> set[str]:
    """The nodes that were not executed again."""
    return set(next(data["nodes"] for name, data in answer["messages"] if name == "execution_cached"))


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"sampler": "euler-ancestral", "spacing": "trailing"},
        {"sampler": "unipc", "guidance_scale": 1.0, "steps": 3},
        {"batch_size": 3, "width": 48},
    ],
)
def test_a_picture_is_that_of_the_library(worker, tiny_model, sampling):
    pictures = worker.pictures(prompt_of(**sampling))
    sampling, count = dict(sampling), sampling.get("batch_size", 1)
    sampling.pop("batch_size", None)
    if width := sampling.pop("width", None):
        sampling["size"] = (width, tiny_model.default_size)
    assert_equal(pictures, library(tiny_model, count, **sampling))


def test_what_the_inputs_leave_to_the_model_is_its_own(worker, tiny_model):
    """A workflow that names its numbers is drawn with them, see above, whatever the model wants."""
    own = {"steps": 0, "guidance_scale": -1.0, "sampler": "auto", "spacing": "auto"}
    declared = worker.nodes["KolorsCourseSampler"]["input"]["required"]
    assert {name: declared[name][1]["default"] for name in own} == own
    sampling = replace(tiny_model.sampling, negative_prompt=NEGATIVE)
    (expected,) = generate(tiny_model, [PROMPT], [SEED], sampling)
    assert_equal(worker.pictures(prompt_of(**own)), [np.asarray(expected)])
    answer = worker.run(prompt_of(**own, seed=1))
    assert [value for value, *_ in answer["progress"]] == [1, 2, 3, 4]
    (expected,) = generate(tiny_model, [PROMPT], [SEED], replace(sampling, steps=3, spacing="leading"))
    assert_equal(
        worker.pictures(prompt_of(**own | {"steps": 3, "spacing": "leading"})), [np.asarray(expected)]
    )


def test_between_no_guidance_and_the_models_own_there_is_none(worker):
    assert "guidance_scale is -0.5; give 0 or more" in failure(worker.run(prompt_of(guidance_scale=-0.5)))


def test_loras_are_those_of_the_library_and_the_cached_model_stays_as_it_was(worker, tiny_folder, tiny_model):
    plain = worker.pictures(prompt_of(prefix="plain"))
    assert_equal(plain, library(tiny_model))
    answer = worker.run(prompt_of(loras=[("ink.safetensors", 0.8, 0.0)]))
    assert cached(answer) == {"load", "prompt"}
    keys = len(load_file(worker.base / "models" / "loras" / "ink.safetensors"))
    report = f"ink.safetensors: {keys}/{keys} keys · tiny\nrank 2 · alpha 4 · strength 0.8"
    assert answer["outputs"]["lora0"]["text"] == [report]
    two = worker.pictures(prompt_of(loras=[("ink.safetensors", 0.8, 0.0), ("second.safetensors", -0.5, 4.0)]))
    model = load_model(tiny_folder)
    load_lora(model.unet, worker.base / "models/loras/ink.safetensors", 0.8)
    load_lora(model.unet, worker.base / "models/loras/second.safetensors", -0.5, alpha=4.0)
    assert_equal(two, library(model))
    assert not np.array_equal(two[0], plain[0])
    assert_equal(worker.pictures(prompt_of(prefix="plain again")), plain)


def test_a_lora_is_read_again_when_its_file_changes(worker):
    path = worker.base / "models" / "loras" / "training.safetensors"
    shutil.copy(path.with_name("no-alpha.safetensors"), path)
    prompt = prompt_of(loras=[(path.name, 1.0, 4.0)])
    before = worker.pictures(prompt)
    assert cached(worker.run(prompt)) == prompt.keys()
    save_file({name: tensor / 2 for name, tensor in load_file(path).items()}, path)
    after = worker.run(prompt)
    assert cached(after) == {"load", "prompt"}
    image = after["outputs"]["save"]["images"][0]["filename"]
    assert not np.array_equal(Image.open(worker.base / "output" / image), before[0])


@pytest.mark.parametrize(
    ("name", "alpha", "words"),
    [
        ("no-alpha.safetensors", 0.0, ["does not say its alpha", "alpha of the ComfyUI node", "used 4"]),
        ("ink.safetensors", 2.0, ["says alpha 4.0, not 2.0"]),
        ("strange.safetensors", 4.0, ["2 of 2 tensors name layers that this"]),
        ("cut.safetensors", 0.0, ["cut short"]),
    ],
)
def test_a_lora_that_does_not_fit_stops_with_the_reason(worker, name, alpha, words):
    message = failure(worker.run(prompt_of(loras=[(name, 1.0, alpha)])))
    assert all(word in message for word in [name, *words]), message


def test_a_lora_of_another_model_stops_and_names_its_own(worker):
    message = failure(worker.run(prompt_of("wide", loras=[("ink.safetensors", 1.0, 0.0)])))
    assert "needs (" in message
    assert "trained on tiny" in message


def test_alpha_given_is_alpha_used(worker):
    one = worker.pictures(prompt_of(loras=[("no-alpha.safetensors", 1.0, 4.0)]))
    assert_equal(one, worker.pictures(prompt_of(loras=[("ink.safetensors", 1.0, 0.0)])))


@pytest.mark.parametrize("name", ["../../../tiny/unet/config.json", "/etc/passwd", "none.safetensors", ""])
def test_only_listed_files_are_read(worker, name):
    message = refusal(worker.run(prompt_of(loras=[(name, 1.0, 0.0)])))
    assert f"no LoRA '{name}'" in message
    assert "put it into ComfyUI/models/loras, press R" in message
    assert f"no model '{name}'" in refusal(worker.run(prompt_of(name)))


def test_a_missing_model_says_where_to_put_it(worker):
    (worker.base / "models" / "diffusers" / "gone" / "unet").mkdir(parents=True)
    (worker.base / "models" / "diffusers" / "gone" / "unet" / "config.json").write_text("{}")
    assert "it has no folder vae/" in refusal(worker.run(prompt_of("gone")))
    shutil.rmtree(worker.base / "models" / "diffusers" / "gone")
    assert "ComfyUI/models/diffusers" in refusal(worker.run(prompt_of("gone")))


def test_stop_ends_after_the_step_and_the_next_run_is_as_if_nothing_had_happened(worker, tiny_model):
    prompt = prompt_of(steps=50, loras=[("ink.safetensors", 1.0, 0.0)])
    answer = worker.run(prompt, interrupt_at=2)
    assert answer["success"] is False
    assert answer["messages"][-1][0] == "execution_interrupted"
    assert [value for value, *_ in answer["progress"]] == [1, 2]
    assert_equal(worker.pictures(prompt_of(seed=SEED, prefix="after stop")), library(tiny_model))


def test_progress_counts_the_steps_and_shows_what_the_model_sees(worker, tiny_model):
    answer = worker.run(prompt_of(steps=6, seed=1))
    assert [step[:2] for step in answer["progress"]] == [[value, 6] for value in range(1, 7)]
    side = tiny_model.default_size
    assert answer["progress"][0][2] == [side, side]


def image_to_image(**sampling) -> dict:
    prompt = prompt_of(denoise=0.5, latent=["encode", 0], **sampling)
    return prompt | {
        "image": node("LoadImage", image="start.png"),
        "encode": node("KolorsCourseEncodeImage", model=["load", 0], image=["image", 0], width=32, height=48),
    }


def test_image_to_image_is_that_of_the_library(worker, tiny_model):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    start = Image.fromarray(pixels).resize((80, 50))
    start.save(worker.base / "input" / "start.png")
    for count in (1, 2):
        pictures = worker.pictures(image_to_image(batch_size=count))
        assert_equal(pictures, library(tiny_model, count, start, denoise=0.5, size=(32, 48)))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"denoise": 0.5}, "denoise 0.5 needs a picture"),
        ({"width": 40}, "must be positive multiples of"),
        ({"steps": 1000, "sampler": "lcm"}, "1000 of 50 distilled timesteps"),
        ({"sampler": "lcm", "spacing": "trailing"}, "leave spacing at leading"),
    ],
)
def test_settings_that_do_not_go_together_say_so(worker, inputs, words):
    assert words in failure(worker.run(prompt_of(**inputs)))


def story_prompt(text=STORY, loras=(), **inputs) -> dict:
    prompt = {key: value for key, value in prompt_of(loras=loras).items() if key in ("load", "lora0")}
    settings = {"storyboard": text, "negative_prompt": NEGATIVE, "steps": STEPS, "guidance_scale": 5.0}
    settings |= {"sampler": "euler", "spacing": "leading", "width": 0, "height": 0, "compare": True}
    model = ["lora0", 0] if loras else ["load", 0]
    return prompt | {
        "story": node("KolorsCourseStoryboard", model=model, **settings | inputs),
        "page": node("SaveImage", images=["story", 0], filename_prefix="page"),
        "panels": node("SaveImage", images=["story", 1], filename_prefix="panel"),
    }


def test_a_story_is_that_of_the_library(worker, tiny_model):
    pictures = worker.pictures(story_prompt(loras=[("ink.safetensors", 1.0, 0.0)]))
    path = worker.base / "models" / "loras" / "ink.safetensors"
    base = StyledModel(tiny_model, tiny_model)
    styled, _ = base.with_lora(path, 1.0)
    story, sampling = parse_storyboard(STORY, "story"), Sampling(STEPS, negative_prompt=NEGATIVE)
    panels, plain = (draw_story(model, story, sampling) for model in (styled.model, tiny_model))
    page = story_page(story, panels, plain, footer="ink.safetensors × 1")
    expected = {picture.tobytes() for picture in (page, *panels)}
    assert {picture.tobytes() for picture in pictures} == expected


def test_a_storyboard_is_checked_before_anything_is_drawn(worker):
    assert "storyboard line 2, column 1: not valid YAML" in refusal(
        worker.run(story_prompt("title_zh: 'a\n"))
    )
    assert "key 'panels' is missing" in refusal(worker.run(story_prompt("title_zh: a\ntitle_en: b")))


def test_weights_in_the_prompt_are_those_of_the_library(worker, tiny_model):
    prompt = "a [(cat:3):fox:0.5] at [night]"
    (picture,) = worker.pictures(with_prompt(prompt, "(snow:2)"))
    sampling = Sampling(STEPS, negative_prompt="(snow:2)")
    assert picture.tobytes() == generate(tiny_model, [prompt], [SEED], sampling)[0].tobytes()
    assert "at character 3, '(cat': '(' is never closed" in refusal(worker.run(with_prompt("a (cat", "")))
    assert "closes no '('" in refusal(worker.run(with_prompt("a cat", "snow :)")))


def with_prompt(prompt: str, negative: str) -> dict:
    texts = {"prompt": prompt, "negative_prompt": negative}
    return prompt_of() | {"prompt": node("KolorsCoursePrompt", model=["load", 0], **texts)}


@pytest.fixture(scope="module")
def parts(worker, tiny_folder):
    """The tiny Kolors with a VAE of SDXL's shape, in three places of ComfyUI's models."""
    models = worker.base / "models"
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        scaling_factor=0.13025,
    )
    vae.bfloat16().save_pretrained(models / "vae" / "sdxl")
    for part, folder in (("unet", "diffusion_models"), ("text_encoder", "text_encoders")):
        shutil.copytree(tiny_folder / part, models / folder / "tiny")
    shutil.copy(tiny_folder / "tokenizer" / "tokenizer.model", models / "text_encoders" / "tiny")
    shutil.copy(tiny_folder / "tokenizer" / "tokenizer_config.json", models / "text_encoders" / "tiny")
    weights = "diffusion_pytorch_model.safetensors"
    return {"unet_name": f"tiny/{weights}", "text_encoder_name": "tiny", "vae_name": f"sdxl/{weights}"}


def test_three_files_are_a_model_whose_latents_comfyuis_own_vae_nodes_take(worker, parts):
    prompt = prompt_of() | {"load": node("KolorsCourseLoadModelFiles", precision="float32", **parts)}
    ours = worker.pictures(prompt)
    vae = {"vae": node("VAELoader", vae_name=parts["vae_name"])}
    decode = {"decode": node("VAEDecode", samples=["sample", 0], vae=["vae", 0])}
    theirs = worker.pictures(prompt | vae | decode)
    assert ours[0].std() > 5
    # Save Image cuts off what we round, and two implementations of the VAE round differently.
    assert np.abs(ours[0].astype(int) - theirs[0].astype(int)).max() <= 2
    encode = {
        "image": node("LoadImage", image="start.png"),
        "scale": node(
            "ImageScale", image=["image", 0], upscale_method="area", width=64, height=64, crop="center"
        ),
        "encode": node("VAEEncode", pixels=["scale", 0], vae=["vae", 0]),
    }
    again = prompt_of(denoise=0.5, latent=["encode", 0]) | {"load": prompt["load"]}
    assert len(worker.pictures(again | vae | encode | decode)) == 1


def shipped(world: str) -> dict[str, dict]:
    """The workflows of the pack in API format, by name."""
    folder = NODES / "example_workflows" / "api"
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob(f"{world}-*.json"))}


@pytest.mark.parametrize("name", shipped("mini"))
def test_shipped_workflows_for_mini_run(worker, name):
    shutil.copy(
        worker.base / "models/loras/ink.safetensors", worker.base / "models/loras/paper-cut.safetensors"
    )
    expected = {"mini-image-to-image": 2, "mini-story": 9}.get(name, 1)
    assert len(worker.pictures(shipped("mini")[name])) == expected


@pytest.mark.parametrize("name", shipped("kolors"))
def test_shipped_workflows_for_full_kolors_lack_nothing_but_your_files(worker, name):
    api = shipped("kolors")[name]
    api["1"]["inputs"]["model_name"] = "wide"
    answer = worker.run(api)
    lacking = {
        details["extra_info"].get("input_name") or details["details"].split(" - ")[0]
        for node in answer["node_errors"].values()
        for details in node["errors"]
    }
    assert lacking <= {"lora_name"}


def test_every_text_of_the_nodes_is_there_in_chinese_and_every_node_has_help_pages(worker):
    assert len(worker.nodes) == 8
    chinese = json.loads((NODES / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert chinese.keys() == worker.nodes.keys()
    for name, info in worker.nodes.items():
        inputs = {**info["input"]["required"], **info["input"].get("optional", {})}
        assert chinese[name]["inputs"].keys() == inputs.keys()
        assert len(chinese[name]["outputs"]) == len(info["output"])
        assert chinese[name]["display_name"]
        assert bool(chinese[name].get("description")) == bool(info["description"])
        for entry, (_, options) in inputs.items():
            translated = chinese[name]["inputs"][entry]
            assert bool(translated.get("tooltip")) == bool(options.get("tooltip")), (name, entry)
        for language in ("en", "zh"):
            assert (NODES / "web" / "docs" / name / f"{language}.md").is_file()
