"""A LoRA of the text encoder, trained together with that of the U-Net."""

from dataclasses import replace

import pytest
import torch
from diffusers import KolorsPipeline
from tiny import QUICK, assert_same_state, state_of, train_interrupted

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.kolors import Sampling, encode_prompts, generate, load_model
from kolors_course.lora import (
    combine_loras,
    inspect_lora,
    load_lora,
    merge_into_model,
    read_lora,
    unload_lora,
    write_lora,
)
from kolors_course.lora.adapter import loaded_adapters
from kolors_course.training.lora import RunOptions, train_lora

BOTH = replace(QUICK, text_encoder_lora=True)
PROMPTS = ["a red cat", "夜晚雪地上的一只兔子"]


@pytest.fixture(scope="module")
def file(tiny_folder, tiny_pictures, tmp_path_factory):
    model = load_model(tiny_folder)
    folder = tmp_path_factory.mktemp("both")
    options = RunOptions(free_encoders=True)  # frees what is not trained
    return train_lora(model, tiny_pictures, folder, BOTH, options=options).path


@torch.no_grad()
def rows(model):
    return encode_prompts(model.tokenizer, model.text_encoder, PROMPTS).prompt_embeds


def test_both_learn_and_the_model_is_left_as_it_was(tiny_model, tiny_pictures, tmp_path, file):
    train_lora(
        tiny_model, tiny_pictures, tmp_path / "first", replace(BOTH, steps=1)
    )  # libraries leave marks once
    before = state_of(tiny_model.unet), rows(tiny_model)
    result = train_lora(tiny_model, tiny_pictures, tmp_path / "run", BOTH)
    assert_same_state(state_of(tiny_model.unet), before[0])
    assert torch.equal(rows(tiny_model), before[1])
    assert not any(parameter.requires_grad for parameter in tiny_model.text_encoder.parameters())
    lora = read_lora(result.path)
    layers = len(tiny_model.text_encoder.encoder.layers)
    assert len(lora.text_encoder) == 2 * layers
    learned = [tensor for name, tensor in lora.text_encoder.items() if "lora_B" in name]
    # The last block feeds only the summary of the prompt; it learns too.
    assert all(tensor.abs().max() > 1e-4 for tensor in learned)
    again = read_lora(file)  # the same training with freed memory
    assert all(torch.equal(tensor, again.text_encoder[name]) for name, tensor in lora.text_encoder.items())
    assert all(torch.equal(tensor, again.state_dict[name]) for name, tensor in lora.state_dict.items())


def test_it_resumes_bit_for_bit(tiny_model, tiny_pictures, tmp_path, file):
    resumed = read_lora(train_interrupted(tiny_model, tiny_pictures, tmp_path, BOTH).path)
    whole = read_lora(file)
    assert all(torch.equal(tensor, resumed.state_dict[name]) for name, tensor in whole.state_dict.items())
    assert all(torch.equal(tensor, resumed.text_encoder[name]) for name, tensor in whole.text_encoder.items())


def test_it_loads_at_every_strength_and_is_taken_off_again(tiny_model, file):
    plain = rows(tiny_model)
    lora = read_lora(file)
    changes = {}
    for strength in (0.0, 0.5, 1.0):
        report = load_lora(tiny_model.unet, file, strength, text_encoder=tiny_model.text_encoder)
        assert report.matched == report.expected == len(lora.state_dict) + len(lora.text_encoder)
        changes[strength] = (rows(tiny_model) - plain).abs().max().item()
        unload_lora(tiny_model.unet)
        unload_lora(tiny_model.text_encoder)
        assert torch.equal(rows(tiny_model), plain)
    assert changes[0.0] < 1e-6 < changes[0.5] < changes[1.0]


def test_pictures_follow_both_parts(tiny_model, file):
    sampling = Sampling(2)

    def draw():
        return [picture.tobytes() for picture in generate(tiny_model, PROMPTS, [1, 2], sampling)]

    plain = draw()
    load_lora(tiny_model.unet, file, text_encoder=tiny_model.text_encoder)
    both = draw()
    unload_lora(tiny_model.text_encoder)
    unet_only = draw()
    unload_lora(tiny_model.unet)
    assert len({plain[0], both[0], unet_only[0]}) == 3
    assert draw() == plain


def test_half_a_file_is_refused_and_nothing_attached(tiny_model, file, tmp_path):
    before = state_of(tiny_model.unet)
    with pytest.raises(CourseError, match="adapts the text encoder too; give it as text_encoder="):
        load_lora(tiny_model.unet, file)
    lora = read_lora(file)
    first = next(iter(lora.text_encoder))
    odd = {name.replace("layers.0", "layers.7"): tensor for name, tensor in lora.text_encoder.items()}
    write_lora(tmp_path / "odd.safetensors", replace(lora, text_encoder=odd))
    with pytest.raises(
        CourseError, match=r"name layers that this model does not have \(first: encoder.layers.7"
    ):
        load_lora(tiny_model.unet, tmp_path / "odd.safetensors", text_encoder=tiny_model.text_encoder)
    lacking = {name: tensor for name, tensor in lora.text_encoder.items() if name != first}
    with pytest.raises(CourseError, match="is incomplete"):
        write_lora(tmp_path / "half.safetensors", replace(lora, text_encoder=lacking))
    assert_same_state(state_of(tiny_model.unet), before)


def test_what_others_cannot_do_with_it_is_said(tiny_model, tiny_folder, file, tmp_path):
    lora = read_lora(file)
    with pytest.raises(CourseError, match="text-encoder part cannot be written for kohya"):
        write_lora(tmp_path / "kohya.safetensors", lora, "kohya", tiny_model.unet)
    with pytest.raises(CourseError, match="only the U-Net is merged"):
        merge_into_model(tiny_folder, [(lora, 1.0)], tmp_path / "merged")
    with pytest.raises(CourseError, match="only LoRAs of the U-Net can be combined"):
        combine_loras([(lora, 1.0), (lora, 1.0)])
    report = inspect_lora(file)
    assert report.blocks[-1].name == "text_encoder"
    assert report.blocks[-1].layers == report.targets["query_key_value"] == 2
    verdicts = {tool.name: tool.verdict for tool in report.tools}
    assert verdicts.pop("kolors-course") == "yes"
    assert set(verdicts.values()) == {"no"}
    pipeline = KolorsPipeline.from_pretrained(tiny_folder)
    with pytest.raises(ValueError, match="state dict type"):
        pipeline.load_lora_weights(file.parent, weight_name=file.name)
    assert loaded_adapters(pipeline.unet)  # half of it is on already


def test_training_goes_on_from_a_file_of_the_same_kind_only(tiny_model, tiny_pictures, tmp_path, file, quick):
    further = train_lora(tiny_model, tiny_pictures, tmp_path / "a", BOTH, pretrained_lora=file)
    assert read_lora(further.path).text_encoder.keys() == read_lora(file).text_encoder.keys()
    with pytest.raises(
        CourseError, match="has no part for the text encoder, but this training run wants one"
    ):
        train_lora(tiny_model, tiny_pictures, tmp_path / "b", BOTH, pretrained_lora=quick.path)
    with pytest.raises(
        CourseError, match="has a part for the text encoder, but this training run wants none"
    ):
        train_lora(tiny_model, tiny_pictures, tmp_path / "b", QUICK, pretrained_lora=file)


def test_the_command_trains_and_draws_with_both(capsys, tiny_profile, tiny_pictures, tmp_path):
    out = tmp_path / "run"
    flags = ["--text_encoder_lora", "--steps_per_epoch", "1", "--batch_size", "2", "--sample_prompt", "a cat"]
    flags += ["--validation_share", "0.25", "--validate_every", "1"]
    assert main(["train-lora", "--dataset_path", str(tiny_pictures), "--output_path", str(out), *flags]) == 0
    assert (out / "samples" / "step-000001.png").is_file()
    lora = out / "lora.safetensors"
    picture = tmp_path / "cat.png"
    command = ["generate", "--prompt", "a cat", "--steps", "1", "--lora", str(lora), "-o", str(picture)]
    assert main(command) == 0
    count = len(read_lora(lora).state_dict) + 4
    assert f"{count} of {count} tensors" in capsys.readouterr().out
