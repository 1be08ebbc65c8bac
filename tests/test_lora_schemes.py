"""The ways in which programs spell the names of a LoRA's tensors: all are read to the same LoRA."""

import pytest
import torch
from loras import ATTENTION, WIDE, random_state, small_unet
from safetensors.torch import save_file

from kolors_course.errors import CourseError
from kolors_course.lora import adaptable_layers, check_fit, inspect_lora, layer_names, read_lora
from kolors_course.lora.naming import parse_name

UNET = small_unet()
NAMES = layer_names(adaptable_layers(UNET))
SGM = {ours: theirs for theirs, ours in NAMES.stability.items()}
# (how a program names a tensor, the layout that we call it)
SCHEMES = [
    ("diffusion_model.{sgm}.lora_{AB}.weight", "comfyui"),
    ("diffusion_model.{sgm}.lora_{down}.weight", "comfyui"),  # ComfyUI's own LoraSave
    ("model.diffusion_model.{sgm}.lora_{down}.weight", "comfyui"),
    ("diffusion_model.{sgm}.lora_{AB}", "comfyui"),
    ("diffusion_model.{own}.lora_{AB}.weight", "peft"),
    ("lycoris_{joined}.lora_{down}.weight", "lycoris"),
    ("lora_unet_{joined}.lora_{down}.weight", "kohya"),
    ("lora_unet_{sgm_joined}.lora_{down}.weight", "kohya-sgm"),
    ("lora_unet_{joined}.lora_{AB}.weight", "kohya"),
    ("unet.{own}.lora_{AB}.weight", "diffusers"),
    ("unet.{own}.lora_{AB}.default.weight", "peft"),
    ("unet.{own}.lora_{AB}.ink.weight", "peft"),
    ("unet.{own}.lora.{down}.weight", "diffusers-old"),
    ("unet.unet.{own}.lora_{AB}.weight", "peft"),
    ("unet.unet.{own}.lora.{down}.weight", "peft"),
    ("unet.base_model.model.{own}.lora_{AB}.weight", "peft"),
    ("base_model.model.{own}.lora_{AB}.weight", "peft"),
    ("base_model.model.unet.{own}.lora_{AB}.default.weight", "peft"),
    ("transformer.{own}.lora_{AB}.weight", "peft"),
    ("{own}.lora_linear_layer.{down}.weight", "peft"),
    ("{own}.lora.{down}.weight", "peft"),
    ("{own}.lora_{AB}.default.weight", "peft"),
]


def spelled(pattern: str, state, alpha: float | None):
    tensors = {}
    for name, tensor in state.items():
        own, factor = name.removesuffix(".weight").rsplit(".lora_", 1)
        words = {"own": own, "joined": own.replace(".", "_"), "AB": factor, "sgm": SGM[own]}
        words |= {"down": {"A": "down", "B": "up"}[factor], "sgm_joined": SGM[own].replace(".", "_")}
        tensors[pattern.format(**words)] = tensor
        if alpha is not None:
            stem = pattern[: pattern.index(".lora")].format(**words)
            tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    return tensors


@pytest.mark.parametrize(("pattern", "layout"), SCHEMES)
def test_every_spelling_is_read(tmp_path, pattern, layout):
    state, path = random_state(UNET, WIDE), tmp_path / "x.safetensors"
    save_file(spelled(pattern, state, 1.5), path)
    read = read_lora(path, unet=UNET)
    assert (read.layout, read.settings.scale) == (layout, 0.5)
    assert read.state_dict.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in read.state_dict.items())
    assert check_fit(UNET, read) == len(state)
    save_file(spelled(pattern, state, None), path)
    with pytest.raises(CourseError, match="does not say its alpha"):
        read_lora(path, unet=UNET)
    assert read_lora(path, unet=UNET, alpha=6.0).settings.scale == 2.0


@pytest.mark.parametrize(("pattern", "layout"), SCHEMES)
def test_an_older_name_of_to_out(tmp_path, pattern, layout):
    """Attention processors had no 0 after to_out."""
    if "joined" in pattern:
        pytest.skip("a joined name cannot be cut")
    state, path = random_state(UNET, ATTENTION), tmp_path / "x.safetensors"
    tensors = {name.replace(".to_out.0.", ".to_out."): t for name, t in spelled(pattern, state, None).items()}
    save_file(tensors, path)
    if "sgm" in pattern:
        with pytest.raises(CourseError, match="layers are not in this U-Net"):
            read_lora(path, unet=UNET, alpha=3.0)
        return
    assert read_lora(path, unet=UNET, alpha=3.0).state_dict.keys() == state.keys()


def test_names_of_other_networks_are_told(tmp_path):
    """A LoRA of a transformer (FLUX and the like), and one of Stable Diffusion 1.5."""
    for stem in (
        "transformer.single_transformer_blocks.0.attn.to_q",
        "lora_unet_down_blocks_0_attentions_0_proj_in",
    ):
        tensors = {f"{stem}.lora_A.weight": torch.ones(2, 8), f"{stem}.lora_B.weight": torch.ones(8, 2)}
        save_file(tensors, tmp_path / "x.safetensors")
        if stem.startswith("lora"):
            with pytest.raises(CourseError, match="1 of 1 layers are not in this U-Net"):
                read_lora(tmp_path / "x.safetensors", unet=UNET, alpha=2.0)
        else:
            assert inspect_lora(tmp_path / "x.safetensors", alpha=2.0, unet=UNET).fits is False


def test_a_text_encoder_of_clip_is_named(tmp_path):
    state = spelled("lora_unet_{joined}.lora_{down}.weight", random_state(UNET, ATTENTION), 1.5)
    for stem in (
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
        "lora_te1_x",
        "lora_te2_x",
        "text_encoders.clip_l.x",
    ):
        extra = {f"{stem}.lora_down.weight": torch.ones(2, 8), f"{stem}.lora_up.weight": torch.ones(8, 2)}
        save_file(state | extra, tmp_path / "x.safetensors")
        with pytest.raises(CourseError, match=f"text encoder too .first: {stem}"):
            read_lora(tmp_path / "x.safetensors", unet=UNET)


@pytest.mark.parametrize("name", ["", ".alpha", "lora_unet_", "conv_in.weight", "lora_A.weight"])
def test_names_of_no_adapter(name):
    assert parse_name(name) is None


def test_a_layer_in_two_spellings_is_refused(tmp_path):
    state = random_state(UNET, ATTENTION)
    both = [
        spelled(pattern, state, None) for pattern in ("unet.{own}.lora_{AB}.weight", "{own}.lora_{AB}.weight")
    ]
    tensors = {name: tensor.clone() for each in both for name, tensor in each.items()}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(CourseError, match="names some layers twice"):
        read_lora(tmp_path / "x.safetensors", alpha=1.0)
