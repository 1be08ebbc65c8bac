"""Our LoRA files in stock diffusers: the same picture, at the strength that the file and `inspect-lora` promise."""

import copy

import numpy as np
import pytest
import torch
from diffusers import KolorsPipeline
from diffusers.utils import convert_state_dict_to_kohya
from loras import ATTENTION, WIDE, random_state, small_unet, write_foreign
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from test_lora_schemes import SCHEMES, spelled

from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, generate, initial_latents
from kolors_course.lora import (
    LoraFile,
    LoraSettings,
    adaptable_layers,
    add_lora,
    inspect_lora,
    load_lora,
    read_lora,
    save_lora,
    unload_lora,
    write_lora,
)
from kolors_course.lora.files import SUFFIXES
from kolors_course.lora.layouts import encode
from kolors_course.lora.programs import _LOST_IN_DIFFUSERS

UNET = small_unet()
PROMPT, SEED, SAMPLING = "夜晚雪地上的一只兔子", 5, Sampling(steps=2, guidance_scale=4.0)


@pytest.fixture(scope="module")
def stock(tiny_folder) -> KolorsPipeline:
    pipeline = KolorsPipeline.from_pretrained(tiny_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pixels(pictures) -> np.ndarray:
    return np.asarray(pictures[0], dtype=np.int16)


def ours(model, path, strength: float = 1.0, alpha: float | None = None) -> np.ndarray:
    load_lora(model.unet, path, strength, alpha=alpha)
    picture = generate(model, [PROMPT], [SEED], SAMPLING)
    unload_lora(model.unet)
    return pixels(picture)


def theirs(stock, model, path) -> np.ndarray:
    stock.load_lora_weights(str(path.parent), weight_name=path.name)
    latents = initial_latents(model, [SEED], 32, 32)
    options = {"num_inference_steps": SAMPLING.steps, "guidance_scale": SAMPLING.guidance_scale}
    picture = stock(PROMPT, latents=latents, height=32, width=32, **options).images
    stock.unload_lora_weights()
    return pixels(picture)


def lora_of(model, settings: LoraSettings, folder) -> LoraFile:
    return LoraFile(folder, random_state(model.unet, settings), settings, {"base_model": "tiny"})


@pytest.mark.parametrize("settings", [ATTENTION, WIDE])
@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_the_stock_pipeline_draws_our_picture(tmp_path, tiny_model, stock, settings, layout):
    lora = lora_of(tiny_model, settings, tmp_path)
    path = write_lora(tmp_path / "ink.safetensors", lora, layout, tiny_model.unet)
    with_lora = ours(tiny_model, path)
    assert np.abs(with_lora - theirs(stock, tiny_model, path)).max() <= 1
    plain = pixels(generate(tiny_model, [PROMPT], [SEED], SAMPLING))
    assert np.abs(with_lora - plain).max() > 8


def test_a_file_without_alpha_is_too_strong_in_stock_and_refused_by_us(tmp_path, tiny_model, stock):
    lora = lora_of(tiny_model, ATTENTION, tmp_path)
    path = write_lora(tmp_path / "ink.safetensors", lora, "kohya", tiny_model.unet)
    bare = tmp_path / "bare.safetensors"
    save_file({name: t for name, t in load_file(path).items() if not name.endswith(".alpha")}, bare)
    with pytest.raises(CourseError, match="does not say its alpha"):
        load_lora(tiny_model.unet, bare)
    true, stock_picture = ours(tiny_model, bare, alpha=1.5), theirs(stock, tiny_model, bare)
    assert np.array_equal(true, ours(tiny_model, path))
    assert np.abs(true - stock_picture).max() > 8
    # Stock takes the scale for 1 where it is 1.5 / 3.
    assert np.abs(ours(tiny_model, bare, strength=2.0, alpha=1.5) - stock_picture).max() <= 1


def stock_scales(path) -> set[float]:
    """The scales at which stock diffusers attaches a file to the small U-Net; empty where it attaches nothing."""
    unet = copy.deepcopy(UNET)
    pipeline = KolorsPipeline(vae=None, text_encoder=None, tokenizer=None, unet=unet, scheduler=None)
    try:
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="it")
    except (ValueError, RuntimeError, TypeError, OSError, IndexError):
        return set()
    return {layer.scaling["it"] for layer in unet.modules() if isinstance(layer, LoraLayer)}


def verdicts(path, alpha: float | None) -> dict[str, str]:
    report = inspect_lora(path, alpha=alpha, unet=UNET)
    return {tool.name: tool.verdict for tool in report.tools}


LAYOUTS = ["diffusers", "diffusers-old", "diffusers-legacy", "peft", "kohya", "kohya-sgm"]
STOCK = "diffusers KolorsPipeline"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_we_say_about_stock_diffusers_is_so(tmp_path, layout):
    state = random_state(UNET, ATTENTION)
    scales = stock_scales(write_foreign(tmp_path, layout, UNET, state, 1.5))
    path = tmp_path / ("adapter_model.safetensors" if layout == "peft" else f"{layout}.safetensors")
    assert scales in (set(), {0.5})
    assert verdicts(path, 1.5)[STOCK] == ("yes" if scales else "no")
    (tmp_path / "adapter_config.json").unlink(missing_ok=True)
    scales = stock_scales(write_foreign(tmp_path, layout, UNET, state))
    assert scales in (set(), {1.0})
    assert verdicts(path, 1.5)[STOCK] == ("set" if scales else "no")
    assert verdicts(path, 3.0)[STOCK] == ("yes" if scales else "no")  # alpha is the rank, by luck


@pytest.mark.parametrize("alpha", [1.5, None])
@pytest.mark.parametrize("pattern", [pattern for pattern, _ in SCHEMES])
@pytest.mark.filterwarnings("ignore:While injecting the PEFT adapters:RuntimeWarning")
def test_what_we_say_about_other_spellings_is_so(tmp_path, pattern, alpha):
    path = tmp_path / "x.safetensors"
    save_file(spelled(pattern, random_state(UNET, ATTENTION), alpha), path)
    said, scales = verdicts(path, None if alpha else 1.5)[STOCK], stock_scales(path)
    if said == "no":  # it may attach layers, and then leaves them without their numbers
        assert scales != {0.5}
    else:
        assert scales == ({0.5} if said == "yes" else {1.0})


@pytest.mark.parametrize("settings", [ATTENTION, LoraSettings(4, 1.0, use_rslora=True)])
def test_what_we_say_about_our_own_files_is_so(tmp_path, settings):
    state = random_state(UNET, settings)
    said = {}
    for layout, suffix in SUFFIXES.items():
        path = write_lora(
            tmp_path / f"{layout}{suffix}", LoraFile(tmp_path, state, settings, {}), layout, UNET
        )
        said[layout] = verdicts(path, 4.0 if layout == "diffsynth" else None)[STOCK]
        assert stock_scales(path) == ({0.5} if said[layout] == "yes" else set())
    assert said == {"diffusers": "yes", "kohya": "yes", "diffsynth": "no"}


@pytest.mark.filterwarnings("ignore:While injecting the PEFT adapters:RuntimeWarning")
def test_a_file_without_half_of_its_targets_is_refused_here_and_taken_by_stock(tmp_path):
    state = random_state(UNET, ATTENTION)
    half = {name: tensor for name, tensor in state.items() if ".attn2." in name}
    path = save_lora(tmp_path / "half.safetensors", half, ATTENTION, base_model="small", dataset_hash="")
    assert stock_scales(path) == {0.5}
    assert verdicts(path, None)[STOCK] == "yes"
    assert verdicts(path, None)["kolors-course"] == "no"


def test_files_that_stock_diffusers_writes(tmp_path):
    unet = copy.deepcopy(UNET)
    add_lora(unet, WIDE, generator=torch.Generator().manual_seed(0))
    state = get_peft_model_state_dict(unet)
    config = unet.peft_config["default"].to_dict()
    KolorsPipeline.save_lora_weights(tmp_path, unet_lora_layers=state, unet_lora_adapter_metadata=config)
    read = read_lora(tmp_path / "pytorch_lora_weights.safetensors")
    assert (read.settings.rank, read.settings.alpha) == (WIDE.rank, WIDE.alpha)
    assert read.state_dict.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in read.state_dict.items())
    theirs = convert_state_dict_to_kohya({f"unet.{name}": tensor for name, tensor in state.items()})
    ours = encode("kohya", state, adaptable_layers(UNET), WIDE.alpha, WIDE.rank)
    assert ours.keys() == theirs.keys()


def test_the_layers_that_stock_loses_in_kohya_files_are_those_we_name(tmp_path):
    """Each layer outside the blocks, and one inside, on its own."""
    layers = ["conv_in", "conv_out", "time_embedding.linear_1", "add_embedding.linear_2", "encoder_hid_proj"]
    for layer in [*layers, "mid_block.resnets.0.time_emb_proj"]:
        settings = LoraSettings(3, 1.5, (layer,))
        lora = LoraFile(tmp_path, random_state(UNET, settings), settings, {})
        path = write_lora(tmp_path / "one.safetensors", lora, "kohya", UNET)
        lost = layer.startswith(_LOST_IN_DIFFUSERS)
        assert stock_scales(path) == (set() if lost else {0.5})
        assert verdicts(path, 1.5)[STOCK] == ("no" if lost else "yes")
        assert read_lora(path, unet=UNET).settings == settings
