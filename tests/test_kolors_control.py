"""ControlNet: nothing at the start, equal to stock diffusers with text projected, and its files."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, EulerDiscreteScheduler
from diffusers.models.attention_processor import AttnProcessor2_0
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.kolors import (
    Control,
    Sampling,
    Steering,
    draw_latents,
    encode_prompts,
    generate,
    initial_latents,
    load_controlnet,
    new_controlnet,
    save_controlnet,
)
from kolors_course.kolors.control import check_controlnet
from kolors_course.kolors.prompts import encode_prompts_padded
from kolors_course.kolors.skeleton import full_kolors
from kolors_course.lora import LoraSettings, add_lora, unload_lora

SIDE, STEPS, SCALE = 32, 4, 3.0
PROMPTS, SEEDS = ["a rabbit on a snowy field at night", "夜晚雪地上的一只猫"], [3, 4]
SAMPLING = Sampling(STEPS, SCALE, spacing="trailing")


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return Image.fromarray(pixels)


def taught(model, seed):
    """A ControlNet that does something: its zero convolutions are not zero any more."""
    net = new_controlnet(model, embedding=(8, 8, 16))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in (
            net.controlnet_cond_embedding.conv_out,
            *net.controlnet_down_blocks,
            net.controlnet_mid_block,
        ):
            part.weight.copy_(0.3 * torch.randn(part.weight.shape, generator=generator))
    return net


@pytest.fixture(scope="module")
def net(tiny_model):
    return taught(tiny_model, 0)


@pytest.fixture(scope="module")
def other(tiny_model):
    return taught(tiny_model, 1)


def ours(model, *controls, sampling=SAMPLING):
    prompts, empty = (encode_prompts(model.tokenizer, model.text_encoder, texts) for texts in (PROMPTS, [""]))
    return draw_latents(model, prompts, empty, SEEDS, sampling, steering=Steering(controls=controls))


def stock_network(module):
    module = copy.deepcopy(module)
    module.set_attn_processor(AttnProcessor2_0())
    return module


@torch.no_grad()
def stock(model, *controls):
    """As diffusers' community pipeline `KolorsControlNetPipeline` draws, without its fault: with two ControlNets it
    runs the forward pass of the last for both, because it patches them in a loop with a closure that binds late."""
    texts = encode_prompts_padded(model.tokenizer, model.text_encoder, ["", "", *PROMPTS])
    unet, nets = stock_network(model.unet), [stock_network(control.net) for control in controls]
    scheduler = EulerDiscreteScheduler.from_config(
        {
            "beta_start": 0.00085,
            "beta_end": 0.014,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1100,
            "timestep_spacing": "trailing",
        }
    )
    scheduler.set_timesteps(STEPS)
    latents = initial_latents(model, SEEDS, SIDE, SIDE) * scheduler.init_noise_sigma
    told = {
        "text_embeds": texts.pooled_prompt_embeds,
        "time_ids": torch.tensor([[SIDE, SIDE, 0, 0, SIDE, SIDE]] * 4, dtype=torch.float32),
    }
    for i, t in enumerate(scheduler.timesteps):
        sample = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        down, mid = None, None
        for control, each in zip(controls, nets, strict=True):
            kept = 1 - float(i / STEPS < control.start or (i + 1) / STEPS > control.end)
            half = slice(2, 4) if control.guess else slice(0, 4)
            cond = torch.cat(
                [torch.from_numpy(np.array(p)).permute(2, 0, 1)[None] / 255 for p in control.pictures]
            )
            count = len(sample[half])
            one_down, one_mid = each(
                sample[half],
                t,
                encoder_hidden_states=each.encoder_hid_proj(texts.prompt_embeds[half]),
                controlnet_cond=cond.repeat(count // len(cond), 1, 1, 1),
                conditioning_scale=control.scale * kept,
                guess_mode=control.guess,
                added_cond_kwargs={name: tensor[half] for name, tensor in told.items()},
                return_dict=False,
            )
            if control.guess:
                one_down = [torch.cat([torch.zeros_like(d), d]) for d in one_down]
                one_mid = torch.cat([torch.zeros_like(one_mid), one_mid])
            down = one_down if down is None else [a + b for a, b in zip(down, one_down, strict=True)]
            mid = one_mid if mid is None else mid + one_mid
        predicted = unet(
            sample,
            t,
            encoder_hidden_states=texts.prompt_embeds,
            added_cond_kwargs=told,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        ).sample
        without, with_text = predicted.chunk(2)
        latents = scheduler.step(without + SCALE * (with_text - without), t, latents).prev_sample
    return latents


def assert_same(one, two):
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


def test_a_new_one_changes_nothing(tiny_model):
    fresh = new_controlnet(tiny_model)
    assert torch.equal(ours(tiny_model, Control(fresh, [picture(0)])), ours(tiny_model))
    with pytest.raises(
        CourseError, match="4 layers halve the control picture 3 times, and the VAE halves 2 times"
    ):
        new_controlnet(tiny_model, (8, 8, 8, 8))
    own, unet = fresh.encoder_hid_proj.state_dict(), tiny_model.unet.encoder_hid_proj.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in unet.items())
    assert not fresh.training
    assert not any(parameter.requires_grad for parameter in fresh.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": 0.7},
        {"start": 0.25},
        {"end": 0.75},
        {"start": 0.25, "end": 0.5},
        {"start": 0.3, "end": 0.9},
        {"guess": True},
        {"guess": True, "start": 0.5, "scale": 0.5},
    ],
)
def test_it_draws_what_stock_diffusers_draws(tiny_model, net, settings):
    control = Control(net, [picture(0)], **settings)
    drawn = ours(tiny_model, control)
    assert_same(drawn, stock(tiny_model, control))
    assert (drawn - ours(tiny_model)).abs().max() > 0.05


def test_a_picture_for_each(tiny_model, net):
    control = Control(net, [picture(0), picture(1)])
    both = ours(tiny_model, control)
    assert_same(both, stock(tiny_model, control))
    assert_same(both[:1], ours(tiny_model, Control(net, [picture(0)]))[:1])


def test_two_at_once_are_added(tiny_model, net, other):
    controls = Control(net, [picture(0)], scale=0.6), Control(other, [picture(1)], guess=True)
    assert_same(ours(tiny_model, *controls), stock(tiny_model, *controls))
    plain = Control(net, [picture(0)]), Control(other, [picture(1)], scale=0.8, end=0.5)
    assert_same(ours(tiny_model, *plain), stock(tiny_model, *plain))


@pytest.mark.parametrize("settings", [{"scale": 0.0}, {"start": 0.1, "end": 0.2}])
def test_without_strength_or_a_whole_step_it_is_not_there(tiny_model, net, settings):
    assert torch.equal(ours(tiny_model, Control(net, [picture(0)], **settings)), ours(tiny_model))


def test_without_guidance_there_is_one_half(tiny_model, net):
    sampling = replace(SAMPLING, guidance_scale=1.0)
    plain, guess = (Control(net, [picture(0)], guess=guess) for guess in (False, True))
    drawn = [ours(tiny_model, control, sampling=sampling) for control in (plain, guess)]
    assert all((each - ours(tiny_model, sampling=sampling)).abs().max() > 0.02 for each in drawn)
    assert (drawn[0] - drawn[1]).abs().max() > 0.01  # deeper layers count more


@pytest.mark.parametrize("sampler", ["heun", "dpm++2m", "unipc"])
def test_other_samplers_are_controlled_too(tiny_model, net, sampler):
    sampling = SAMPLING.but(sampler=sampler)
    controls = [Control(net, [picture(0)], end=end) for end in (0.5, 1.0)]
    latents = [ours(tiny_model, control, sampling=sampling) for control in controls]
    assert (latents[0] - latents[1]).abs().max() > 0.01


def test_pictures_in_batches_keep_their_own_control(tiny_model, net):
    pictures = [picture(0), picture(1)]
    sampling = replace(SAMPLING, batch_size=1)
    one, two = (
        generate(tiny_model, PROMPTS, SEEDS, each, controls=[Control(net, pictures)])
        for each in (SAMPLING, sampling)
    )
    for a, b in zip(one, two, strict=True):
        assert np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1


def test_a_lora_and_a_control_go_together(tiny_model, net):
    control = Control(net, [picture(0)])
    before = ours(tiny_model, control)
    add_lora(tiny_model.unet, LoraSettings(rank=2, alpha=2.0), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in tiny_model.unet.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    changed = ours(tiny_model, control)
    with pytest.raises(CourseError, match="take LoRAs off"):
        new_controlnet(tiny_model)
    unload_lora(tiny_model.unet)
    assert (changed - before).abs().max() > 0.01
    assert torch.equal(ours(tiny_model, control), before)


def test_files_are_those_of_diffusers(tiny_model, net, tmp_path):
    save_controlnet(net, tmp_path / "control")
    assert {path.name for path in (tmp_path / "control").iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    read = load_controlnet(tmp_path / "control", tiny_model)
    assert torch.equal(
        ours(tiny_model, Control(read, [picture(0)])), ours(tiny_model, Control(net, [picture(0)]))
    )
    assert ControlNetModel.from_pretrained(tmp_path / "control").config.encoder_hid_dim_type == "text_proj"


def test_foreign_and_damaged_files_are_refused(tiny_model, net, tmp_path):
    def refused(folder):
        with pytest.raises(CourseError) as caught:
            load_controlnet(folder, tiny_model)
        return str(caught.value)

    assert "there is no ControlNet folder" in refused(tmp_path / "none")
    save_controlnet(net, tmp_path / "control")
    config = tmp_path / "control" / "config.json"
    weights = tmp_path / "control" / "diffusion_pytorch_model.safetensors"
    whole, bytes_of_weights = config.read_text(encoding="utf-8"), weights.read_bytes()
    fields = json.loads(whole)
    for change, told in (
        ({"encoder_hid_dim": 2048}, "its encoder_hid_dim is 2048"),
        ({"_class_name": "UNet2DConditionModel"}, "not a ControlNetModel"),
        ({"conditioning_embedding_out_channels": [8, 8, 32]}, "expected shape"),
    ):
        config.write_text(json.dumps(fields | change), encoding="utf-8")
        assert told in refused(tmp_path / "control")
    config.write_text(whole, encoding="utf-8")
    weights.write_bytes(bytes_of_weights[:-1000])
    assert "cannot load" in refused(tmp_path / "control")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pictures": []}, "a control without a picture"),
        ({"scale": float("nan")}, "finite number"),
        ({"start": 0.5, "end": 0.5}, "from 0.5 to 0.5 of the steps"),
        ({"end": 1.2}, "from 0 to 1.2"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(net, settings, told):
    with pytest.raises(CourseError, match=told):
        Control(net, **{"pictures": [picture(0)], **settings})


def test_pictures_and_prompts_must_agree(tiny_model, net):
    with pytest.raises(CourseError, match="2 pictures are drawn, and a control has 3"):
        ours(tiny_model, Control(net, [picture(i) for i in range(3)]))


def test_full_kolors_has_the_published_shape():
    """Kwai's Canny, Depth and Pose, 2.53 GB in half precision: the encoder of Kolors' U-Net and its projection."""
    model = full_kolors(torch.float16)
    with torch.device("meta"):
        net = ControlNetModel.from_unet(model.unet, load_weights_from_unet=False)
    assert sum(parameter.numel() for parameter in net.parameters()) == 1_263_009_296
    assert net.encoder_hid_proj.weight.shape == (2048, 4096)
    assert net.add_embedding.linear_1.weight.shape == (1280, 5632)
    check_controlnet({**net.config, "_class_name": "ControlNetModel"}, model.unet, "published")
    sdxl = {**net.config, "_class_name": "ControlNetModel", "projection_class_embeddings_input_dim": 2816}
    with pytest.raises(CourseError, match="projection_class_embeddings_input_dim is 2816"):
        check_controlnet(sdxl, model.unet, "sdxl")
