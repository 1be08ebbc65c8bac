"""Loading: the three layouts, faults told in one line, profiles, and the shapes of full Kolors."""

import json
import os
import re
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel
from safetensors.torch import load_file, save_file

from kolors_course.diffusion import NoiseSchedule
from kolors_course.errors import CourseError
from kolors_course.kolors import (
    KolorsModel,
    ModelPaths,
    current_profile,
    diffusers_layout,
    encode_prompts,
    load_model,
    load_profile,
    three_paths,
)
from kolors_course.lora import ATTENTION_TARGETS, LoraSettings, add_lora, lora_parameters
from kolors_course.platform.paths import data_dir
from kolors_course.training.mini import KOLORS_SCHEDULER, build_unet, parameter_count

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny Kolors that may be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "copy", copy_function=os.link)


def rewrite(path, data: bytes):
    path.unlink()  # the copy is made of hard links
    path.write_bytes(data)


def change_weights(path, change):
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})


def same_weights(one: KolorsModel, two: KolorsModel) -> bool:
    return all(
        torch.equal(tensor, part_two.state_dict()[name])
        for part, part_two in ((one.unet, two.unet), (one.vae, two.vae), (one.text_encoder, two.text_encoder))
        for name, tensor in part.state_dict().items()
    )


# Layouts


def test_a_loaded_model_is_frozen_and_knows_its_sizes(tiny_model):
    for part in (tiny_model.unet, tiny_model.vae, tiny_model.text_encoder):
        assert not part.training
        assert not any(p.requires_grad for p in part.parameters())
        assert {p.dtype for p in part.parameters()} == {torch.float32}
    assert tiny_model.name == "tiny"
    assert tiny_model.vae_scale_factor == 4
    assert tiny_model.default_size == 32
    assert torch.equal(tiny_model.schedule.alphas_cumprod, NoiseSchedule.kolors().alphas_cumprod)


def test_three_paths_load_the_same_model(tiny_folder, tiny_model):
    paths = three_paths(tiny_folder / UNET, tiny_folder / "text_encoder", tiny_folder / VAE)
    model = load_model(paths)
    assert same_weights(model, tiny_model)
    assert model.name == "tiny"
    assert torch.equal(model.schedule.alphas_cumprod, tiny_model.schedule.alphas_cumprod)


def test_three_paths_load_the_very_file_that_is_named(folder, tiny_model):
    """Beside the plain file lies an fp16 one; each must be read only when it is meant."""
    other = folder / "unet/diffusion_pytorch_model.fp16.safetensors"
    shutil.copy(folder / UNET, other)
    change_weights(other, lambda tensors: tensors["conv_in.bias"].add_(1))
    biases = []
    for file in (folder / UNET, other):
        paths = three_paths(file, folder / "text_encoder", folder / VAE)
        biases.append(load_model(paths).unet.conv_in.bias)
    assert torch.equal(biases[0], tiny_model.unet.conv_in.bias)
    torch.testing.assert_close(biases[1], biases[0] + 1, atol=1e-3, rtol=1e-3)  # stored in half precision


def test_a_variant_is_a_preference(folder, tiny_model):
    """Kolors-diffusers has fp16 files only; Kwai-Kolors/Kolors has both kinds, and its text encoder has none."""
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    for variant in ("fp16", None):
        assert same_weights(load_model(folder, variant=variant), tiny_model)


def test_the_original_layout_with_bin_shards_and_the_tokenizer_inside(folder, tiny_model):
    text_encoder = folder / "text_encoder"
    tensors = load_file(folder / TEXT)
    (folder / TEXT).unlink()
    names = sorted(tensors)
    shards = {"pytorch_model-00001-of-00002.bin": names[:7], "pytorch_model-00002-of-00002.bin": names[7:]}
    for file, keys in shards.items():
        torch.save({key: tensors[key] for key in keys}, text_encoder / file)
    weight_map = {key: file for file, keys in shards.items() for key in keys}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (text_encoder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "tokenizer/tokenizer.model").rename(text_encoder / "tokenizer.model")
    shutil.rmtree(folder / "tokenizer")
    model = load_model(folder, variant="fp16")
    assert same_weights(model, tiny_model)
    prompts = [
        encode_prompts(m.tokenizer, m.text_encoder, ["夜晚"]).prompt_embeds for m in (model, tiny_model)
    ]
    assert torch.equal(*prompts)


def test_another_schedule_in_the_folder_is_used(folder):
    config = json.loads((folder / "scheduler/scheduler_config.json").read_text(encoding="utf-8"))
    config |= {"num_train_timesteps": 1000, "beta_end": 0.012}
    rewrite(folder / "scheduler/scheduler_config.json", json.dumps(config).encode())
    assert torch.equal(load_model(folder).schedule.alphas_cumprod, NoiseSchedule.sdxl().alphas_cumprod)


# Faults


def drop(tensors):
    del tensors[sorted(tensors)[3]]


def reshape(tensors):
    tensors[sorted(tensors)[3]] = torch.zeros(3, 3)


@pytest.mark.parametrize("change", [drop, reshape])
@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
def test_weights_that_do_not_fit_are_refused(folder, file, change):
    """The libraries would fill the gap with random numbers or with whatever was in memory."""
    change_weights(folder / file, change)
    with pytest.raises(CourseError, match="copy") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.9])
@pytest.mark.parametrize("file", [UNET, VAE, TEXT, "tokenizer/tokenizer.model", "unet/config.json"])
def test_files_cut_short_are_refused(folder, file, share):
    data = (folder / file).read_bytes()
    rewrite(folder / file, data[: int(len(data) * share)])
    with pytest.raises(CourseError, match="copy") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


MISSING = [
    UNET,
    VAE,
    TEXT,
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer.model",
]


@pytest.mark.parametrize("file", MISSING)
def test_missing_files_are_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(CourseError, match=re.escape(file.split("/")[0])) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler"])
def test_missing_folders_are_named(folder, part):
    shutil.rmtree(folder / part)
    with pytest.raises(CourseError, match=f"{part}/"):
        diffusers_layout(folder)


FOREIGN = {
    "unet/config.json": {},
    "text_encoder/config.json": {},
    "scheduler/scheduler_config.json": {"beta_start": 0.1, "prediction_type": "v_prediction"},
}


@pytest.mark.parametrize("file", FOREIGN)
def test_configurations_of_something_else_are_refused(folder, file):
    rewrite(folder / file, json.dumps(FOREIGN[file]).encode())
    with pytest.raises(CourseError) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(CourseError, match="there is no model folder"):
        load_model(tmp_path / "nothing")
    with pytest.raises(CourseError, match="no folder unet/"):
        load_model(tmp_path)


def test_three_paths_say_which_one_is_wrong(folder):
    good = {"unet_file": folder / UNET, "text_encoder": folder / "text_encoder", "vae_file": folder / VAE}
    for name in ("unet_file", "vae_file"):
        with pytest.raises(CourseError, match="does not exist"):
            three_paths(**good | {name: folder / "none.safetensors"})
        with pytest.raises(CourseError, match="does not exist"):
            three_paths(**good | {name: good[name].parent})  # the folder instead of the file
        odd = good[name].with_name("my_weights.safetensors")
        shutil.copy(good[name], odd)
        with pytest.raises(CourseError, match=r"diffusion_pytorch_model\.safetensors"):
            three_paths(**good | {name: odd})
    with pytest.raises(CourseError, match="is not a folder"):
        three_paths(**good | {"text_encoder": folder / TEXT})
    (folder / "vae/config.json").unlink()
    with pytest.raises(CourseError, match=r"no config\.json in"):
        load_model(three_paths(**good))
    (folder / "tokenizer/tokenizer.model").unlink()
    with pytest.raises(CourseError, match=r"no tokenizer\.model"):
        three_paths(**good)


def test_paths_of_two_models_may_be_mixed_only_where_they_fit(folder, tiny_folder):
    config = json.loads((folder / "unet/config.json").read_text(encoding="utf-8"))
    rewrite(folder / "unet/config.json", json.dumps(config | {"encoder_hid_dim": 64}).encode())
    paths = diffusers_layout(tiny_folder)
    mixed = ModelPaths(folder / "unet", paths.vae, paths.text_encoder, paths.tokenizer, None, "mixed")
    with pytest.raises(CourseError, match=r"mixed|do not fit"):
        load_model(mixed)


# Profiles


@pytest.fixture
def no_profile(monkeypatch):
    monkeypatch.delenv("KOLORS_PROFILE", raising=False)
    monkeypatch.delenv("KOLORS_MODEL", raising=False)
    return monkeypatch


def test_the_default_profile_is_mini(no_profile):
    assert current_profile().name == "mini"
    assert current_profile().folder == data_dir() / "kolors-mini"
    no_profile.setenv("KOLORS_PROFILE", "")  # set but empty, as shells do
    no_profile.setenv("KOLORS_MODEL", "")
    assert current_profile() == current_profile("mini")


def test_one_variable_switches_to_full_kolors(no_profile):
    no_profile.setenv("KOLORS_PROFILE", "kolors")
    profile = current_profile()
    assert (profile.name, profile.variant, profile.size, profile.batch_size) == ("kolors", "fp16", 1024, 1)
    assert profile.dtype == torch.bfloat16
    assert current_profile("mini").name == "mini"  # a name given in code wins


def test_an_unknown_profile_is_refused(no_profile):
    no_profile.setenv("KOLORS_PROFILE", "sdxl")
    with pytest.raises(CourseError, match=r"sdxl.*mini or kolors"):
        current_profile()


def test_the_model_folder_can_be_chosen(no_profile, tiny_folder, tiny_model, tmp_path):
    no_profile.setenv("KOLORS_MODEL", str(tiny_folder))
    no_profile.setenv("KOLORS_COURSE_DATA", str(tmp_path / "none"))  # not needed when the folder is given
    assert current_profile().folder == tiny_folder
    assert same_weights(load_profile(device="cpu"), tiny_model)
    with pytest.raises(CourseError, match="device"):
        load_profile(device="abacus")


# Full Kolors, without its weights: the published configurations on the meta device

KOLORS_UNET = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "encoder_hid_dim": 4096,
    "encoder_hid_dim_type": "text_proj",
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "addition_embed_type_num_heads": 64,
    "projection_class_embeddings_input_dim": 5632,
    "use_linear_projection": True,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "dropout": 0.0,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "class_embed_type": None,
    "resnet_time_scale_shift": "default",
}


@pytest.fixture(scope="module")
def full_unet():
    with torch.device("meta"):
        return UNet2DConditionModel(**KOLORS_UNET)


def test_full_unet_has_the_published_number_of_weights(full_unet):
    assert parameter_count(full_unet) == 2_579_458_820
    assert len(full_unet.state_dict()) == 1682
    assert parameter_count(full_unet.encoder_hid_proj) == 8_390_656


def test_full_lora_has_the_camps_targets_and_size(full_unet):
    count = add_lora(full_unet, LoraSettings(rank=16), generator=torch.Generator().manual_seed(0))
    assert count == 560
    assert sum(p.numel() for p in lora_parameters(full_unet)) == 23_224_320
    assert LoraSettings().target_modules == ATTENTION_TARGETS == ("to_q", "to_k", "to_v", "to_out.0")
    full_unet.unload_lora()
    assert len(full_unet.state_dict()) == 1682


def test_full_kolors_sizes(full_unet):
    with torch.device("meta"):
        blocks = 4
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
        )
    assert parameter_count(vae) == 83_653_863
    model = KolorsModel(full_unet, vae, None, None, NoiseSchedule.kolors(), "Kolors")
    assert (model.vae_scale_factor, model.default_size, model.size_multiple) == (8, 1024, 32)


def test_full_text_encoder_has_the_published_number_of_weights():
    config = ChatGLMConfig(
        num_layers=28,
        padded_vocab_size=65024,
        hidden_size=4096,
        ffn_hidden_size=13696,
        kv_channels=128,
        num_attention_heads=32,
        multi_query_attention=True,
        multi_query_group_num=2,
        seq_length=32768,
        add_qkv_bias=True,
        add_bias_linear=False,
        rmsnorm=True,
        original_rope=True,
        post_layer_norm=True,
    )
    with torch.device("meta"):
        text_encoder = ChatGLMModel(config, empty_init=False)
    assert parameter_count(text_encoder) == 6_243_584_000


def anonymous(names) -> set[str]:
    """Weight names without the number of the transformer block, in which the two models may differ."""
    return {re.sub(r"transformer_blocks\.\d+", "transformer_blocks.N", name) for name in names}


def test_kolors_mini_has_the_structure_of_full_kolors(full_unet):
    mini = build_unet(192)
    assert anonymous(mini.state_dict()) == anonymous(full_unet.state_dict())
    scaled = {
        "sample_size",
        "block_out_channels",
        "transformer_layers_per_block",
        "attention_head_dim",
        "cross_attention_dim",
        "encoder_hid_dim",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
    }
    differing = {key for key, value in full_unet.config.items() if mini.config[key] != value}
    assert differing - {"_use_default_values"} == scaled
    for unet in (mini, full_unet):
        config = unet.config
        micro = 6 * config.addition_time_embed_dim
        assert config.projection_class_embeddings_input_dim == config.encoder_hid_dim + micro


def test_kolors_mini_has_kolors_schedule():
    mini = NoiseSchedule.from_scheduler_config(KOLORS_SCHEDULER)
    assert torch.equal(mini.alphas_cumprod, NoiseSchedule.kolors().alphas_cumprod)
    assert KOLORS_SCHEDULER["timestep_spacing"] == "leading"
    assert KOLORS_SCHEDULER["steps_offset"] == 1
