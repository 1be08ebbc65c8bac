"""Names of layers in other programs: the published tables of full Kolors, and diffusers' own translation."""

import re

import pytest
import torch
from diffusers import KolorsPipeline, UNet2DConditionModel
from diffusers.utils import convert_unet_state_dict_to_peft
from loras import small_unet

from kolors_course.errors import CourseError
from kolors_course.kolors.skeleton import kolors_skeleton, unet_skeleton
from kolors_course.lora import LoraSettings, adaptable_layers, add_lora, layer_names, lora_state_dict
from kolors_course.lora.layouts import encode

# DiffSynth-Studio v1.1.9, diffsynth/models/sdxl_unet.py: number in its list of blocks -> diffusers.
DIFFSYNTH_ATTENTIONS = {
    7: "down_blocks.1.attentions.0",
    10: "down_blocks.1.attentions.1",
    15: "down_blocks.2.attentions.0",
    18: "down_blocks.2.attentions.1",
    21: "mid_block.attentions.0",
    25: "up_blocks.0.attentions.0",
    28: "up_blocks.0.attentions.1",
    31: "up_blocks.0.attentions.2",
    35: "up_blocks.1.attentions.0",
    38: "up_blocks.1.attentions.1",
    41: "up_blocks.1.attentions.2",
}
DIFFSYNTH_RESNETS = (0, 2, 6, 9, 14, 17, 20, 22, 24, 27, 30, 34, 37, 40, 44, 46, 48)
DIFFSYNTH_SAMPLERS = (4, 12, 32, 42)
SGM_ATTENTIONS = "input_blocks_4_1 5_1 7_1 8_1 middle_block_1 output_blocks_0_1 1_1 2_1 3_1 4_1 5_1"


@pytest.fixture(scope="module")
def kolors() -> UNet2DConditionModel:
    return kolors_skeleton()


@pytest.fixture(scope="module", params=["kolors", "small"])
def unet(request, kolors) -> UNet2DConditionModel:
    return kolors if request.param == "kolors" else small_unet()


def numbers(layers: dict[str, str], part: str) -> tuple[int, ...]:
    found = {int(theirs.split(".")[1]) for theirs, ours in layers.items() if part in ours}
    return tuple(sorted(found))


def test_the_skeleton_is_full_kolors(kolors):
    assert sum(parameter.numel() for parameter in kolors.parameters()) == 2_579_458_820
    assert {parameter.device.type for parameter in kolors.parameters()} == {"meta"}


def test_every_layer_has_one_name_in_each_program(unet):
    layers = adaptable_layers(unet)
    names = layer_names(layers)
    for table in (names.kohya, names.sgm, names.diffsynth):
        assert set(table.values()) == set(layers)
        assert len(table) == len(layers)


def test_blocks_are_numbered_as_in_diffsynth(unet):
    names = layer_names(adaptable_layers(unet)).diffsynth
    found = {
        int(theirs.split(".")[1]): ours.split(".transformer_blocks")[0]
        for theirs, ours in names.items()
        if ".transformer_blocks." in theirs
    }
    assert found == DIFFSYNTH_ATTENTIONS
    assert numbers(names, ".resnets.") == DIFFSYNTH_RESNETS
    assert numbers(names, "samplers.") == DIFFSYNTH_SAMPLERS
    block = "blocks.21.transformer_blocks.0"
    leaves = {"attn1.to_out": "attn1.to_out.0", "act_fn.proj": "ff.net.0.proj", "ff": "ff.net.2"}
    for theirs, ours in leaves.items():
        assert names[f"{block}.{theirs}"] == f"mid_block.attentions.0.transformer_blocks.0.{ours}"
    assert names["text_intermediate_proj"] == "encoder_hid_proj"
    assert names["add_time_embedding.2"] == "add_embedding.linear_2"


def test_blocks_are_numbered_as_in_sgm(unet):
    names = layer_names(adaptable_layers(unet)).sgm
    attentions = dict.fromkeys(
        name.split("_transformer_blocks")[0] for name in names if "_attn1_to_q" in name
    )
    expected, side = [], ""
    for word in SGM_ATTENTIONS.split():
        side = re.match(r"[a-z_]*", word)[0] or side
        expected.append(side + re.search(r"\d[\d_]*$", word)[0])
    assert set(attentions) == set(expected)


def test_sgm_names_are_those_that_diffusers_translates(unet):
    """Of the layers inside the blocks; diffusers knows SDXL's U-Net by heart where we count."""
    names = {
        theirs: ours for theirs, ours in layer_names(adaptable_layers(unet)).sgm.items() if "blocks" in ours
    }
    assert len(names) > 200
    pair = {"lora_down": torch.zeros(1), "lora_up": torch.zeros(1)}
    state = {f"lora_unet_{name}.{part}.weight": t for name in names for part, t in pair.items()}
    theirs, _ = KolorsPipeline.lora_state_dict(state, unet_config=unet.config)
    translated = convert_unet_state_dict_to_peft(theirs)
    assert set(translated) == {
        f"unet.{ours}.lora_{factor}.weight" for ours in names.values() for factor in "AB"
    }


def test_the_camps_checkpoint_has_these_names_and_this_size(kolors):
    skeleton = kolors_skeleton()
    add_lora(skeleton, LoraSettings(16, 4.0), generator=torch.Generator().manual_seed(0))
    tensors = encode("diffsynth", lora_state_dict(skeleton), adaptable_layers(kolors), 4.0, 16)
    assert len(tensors) == 1120
    assert sum(tensor.numel() for tensor in tensors.values()) == 23_224_320
    pattern = r"blocks\.(\d+)\.transformer_blocks\.\d+\.attn[12]\.to_(q|k|v|out)\.lora_[AB]\.default\.weight"
    blocks = {int(re.fullmatch(pattern, name)[1]) for name in tensors}
    assert blocks == set(DIFFSYNTH_ATTENTIONS)
    kohya = encode("kohya", lora_state_dict(skeleton), adaptable_layers(kolors), 4.0, 16)
    assert len(kohya) == 1120 + 560
    assert {tensor.item() for name, tensor in kohya.items() if name.endswith(".alpha")} == {4.0}


def test_a_skeleton_from_a_folder(tiny_folder, tmp_path):
    skeleton = unet_skeleton(tiny_folder)
    assert {parameter.device.type for parameter in skeleton.parameters()} == {"meta"}
    assert skeleton.config.block_out_channels == [32, 64, 64]
    with pytest.raises(CourseError, match="no model folder"):
        unet_skeleton(tmp_path / "none")


@pytest.mark.parametrize("text", ["{broken", '{"down_block_types": ["NoBlock"]}', None])
def test_a_folder_with_a_damaged_config(tmp_path, text):
    for part in ("unet", "vae", "text_encoder", "scheduler", "tokenizer"):
        (tmp_path / part).mkdir()
    (tmp_path / "tokenizer" / "tokenizer.model").touch()
    if text:
        (tmp_path / "unet" / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(
        CourseError, match=r"config\.json (does not describe a U-Net|is not JSON)|no config\.json in"
    ):
        unet_skeleton(tmp_path)
